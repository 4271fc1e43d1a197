"""Two folders of images: which of them are pairs by name, and whether they can be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ganatomy.scans import Scan

LABELS = 255  # in one map at most: an image of whole numbers has more


def named_images(*folders: Path) -> list[dict[str, Path]]:
    """The images of folders by their paths in it, without what says the kind of file.

    Args:
        folders: folders, or images. One image in each: a pair, whatever they are called.

    Raises:
        WrongUse: a folder without images, or with two of one name.
    """
    found = [_named(folder) for folder in folders]
    if all(len(images) == 1 for images in found):
        found = [{"": next(iter(images.values()))} for images in found]
    return found


def read_or_note(path: Path, failed: dict[str, None], *, constant: bool = False) -> Scan | None:
    """A scan, or None and a line in `failed`; `constant` as in `read_scan`."""
    from ganatomy.scans import ScanError, read_scan

    try:
        return read_scan(path, constant=constant)
    except ScanError as error:
        failed[str(error)] = None
        return None


def check_pair(found: Scan, truth: Scan) -> None:
    """Refuse what is not one place seen twice.

    Raises:
        WrongUse: two shapes, or two places.
    """
    from ganatomy.errors import WrongUse

    if found.pixels.shape != truth.pixels.shape:
        shapes = [" × ".join(map(str, scan.pixels.shape)) for scan in (found, truth)]
        raise WrongUse(f"{found.path} is {shapes[0]}, {truth.path} is {shapes[1]}: no pair")
    check_place(found, truth)


def check_place(found: Scan, truth: Scan) -> None:
    """Refuse two scans of which both say where they lie, and not the same.

    Raises:
        WrongUse: two places.
    """
    import numpy as np

    from ganatomy.errors import WrongUse

    here, there = found.affine, truth.affine
    if here is not None and there is not None and not np.allclose(here, there, atol=1e-2):
        raise WrongUse(f"{found.path} and {truth.path} lie in different places: no pair")


def label_map(scan: Scan):
    """The labels of a scan that holds nothing else, [*grid], whole numbers.

    Raises:
        ScanError: something other than a few whole numbers in one channel.
    """
    import numpy as np

    from ganatomy.scans import ScanError
    from ganatomy.scans.placed import holds_labels

    wanted = f"whole numbers in one channel, of at most {LABELS} labels"
    if not holds_labels(scan):
        raise ScanError(scan.path, "does not hold labels", wanted)
    count = len(np.unique(scan.pixels))
    if count > LABELS + 1:
        raise ScanError(scan.path, f"holds {count} values", wanted)
    return scan.pixels[..., 0].astype(int)


def _named(folder: Path) -> dict[str, Path]:
    from ganatomy.errors import WrongUse
    from ganatomy.scans import find_scans

    found: dict[str, Path] = {}
    for path in find_scans(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_file():
            name = name.removesuffix(".gz")
            name = name.removesuffix(Path(name).suffix)
        if name in found:
            raise WrongUse(f"{found[name]} and {path} have one name: which is meant?")
        found[name] = path
    if not found:
        raise WrongUse(f"{folder} has no images: pictures, NIfTI files or DICOM are compared")
    return found
