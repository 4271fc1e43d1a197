"""Scans in and out: DICOM, NIfTI, pictures; what a model sees of them, and the way back."""

from typing import TYPE_CHECKING

from ganatomy.scans.errors import ScanError
from ganatomy.scans.scan import Scan

if TYPE_CHECKING:
    from ganatomy.scans.prepared import Prepared
    from ganatomy.scans.preprocessing import Preprocessing
    from ganatomy.scans.read import find_scans, read_scan
    from ganatomy.scans.write import write_map, write_mask

__all__ = [
    "Prepared",
    "Preprocessing",
    "Scan",
    "ScanError",
    "find_scans",
    "read_scan",
    "write_map",
    "write_mask",
]

# pydicom, scipy and Pillow are loaded by whoever needs them, not by `ganatomy --help`
_HOMES = {
    "Prepared": "prepared",
    "Preprocessing": "preprocessing",
    "find_scans": "read",
    "read_scan": "read",
    "write_map": "write",
    "write_mask": "write",
}


def __getattr__(name: str):
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"ganatomy.scans.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
