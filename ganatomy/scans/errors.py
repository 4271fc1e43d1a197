"""The one exception of this room."""

from pathlib import Path


class ScanError(Exception):
    """A scan that cannot be used: one line with the file, what is wrong, and what was expected.

    The line never quotes pixel values, names of patients or the text of an underlying
    exception (which may quote either); the cause is chained.

    Args:
        path: the file or folder, or the name of an upload.
        problem: what is wrong, as a short clause.
        expected: what would have been right.
    """

    def __init__(self, path: str | Path, problem: str, expected: str):
        super().__init__(str(path), problem, expected)
        self.path, self.problem, self.expected = str(path), problem, expected

    def __str__(self) -> str:
        # A file name may hold a line break, which would forge a second line of a log.
        name = "".join(c if c.isprintable() else "?" for c in self.path)
        return f"{name}: {self.problem}; expected {self.expected}"
