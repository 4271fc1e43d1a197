"""The base of errors that a user can mend."""


class WrongUse(ValueError):
    """What is wrong with a command, a file or a setting, in one line; shown without a traceback."""
