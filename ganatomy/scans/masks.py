"""Where a scan shows the body, or the brain: classical masks, one a volume.

They are found on a grid of at most 128 pixels a side and lie on the scan's own by linear
interpolation, so that their border is good to a pixel of that grid.
"""

from typing import Any, Literal

import numpy as np

from ganatomy.scans.resample import along_axes, antialias, weights

SIDE = 128
# mm, what the longer side of a body or a head is taken for where a file gives no spacing
LENGTHS = {"body": 400.0, "brain": 200.0}
# Brain against its median: bone, air and most fluid are darker, fat on T1 is brighter.
DARKEST, BRIGHTEST = 0.55, 1.9
# mm: bridges between brain and scalp are thinner than twice the first; sulci are than the last
ERODED, DILATED, CLOSED = 5.0, 6.5, 8.0


def find_mask(
    image: np.ndarray,
    what: Literal["body", "brain"],
    spacing: tuple[float, ...] | None,
    erosion: float = 0.0,
) -> np.ndarray:
    """Which pixels show the body or the brain.

    The body is what is brighter than half of Otsu's threshold: its largest connected part, opened
    so that a table falls off, with its holes (lungs, bowel, sinuses) filled in every plane.

    The brain, for MR: the tissue near the median grey of the inner head, eroded by 5 mm, of which
    the largest connected part, and any half as large, is grown again, closed over 8 mm and
    filled. On scans whose skull was removed nearly all is kept (Dice 0.96 to 0.99 of nine such
    masks). On T1, T2 and FLAIR slices of the whole head it follows the brain from above the eyes
    to near the vertex. Below, muscle and marrow of the skull base may stay; at the vertex, scalp.
    A cyst or tumour that reaches the surface may be cut off where it is much darker or brighter
    than brain: look at the masks of some scans before trusting this. No learned skull stripping
    is meant to be replaced.

    Args:
        image: `[i, j(, k)]`.
        what: to look for.
        spacing: mm a pixel along each axis; None where it is unknown: what is seen of a body is
            then taken for 400 mm long, of a head for 200 mm.
        erosion: mm that are taken off all around; the border of the image takes none.

    Returns:
        bool, the shape of the image.

    Raises:
        ValueError: there is nothing of the kind to see.

    Reference: Otsu, IEEE Transactions on Systems, Man and Cybernetics 9, 1979.
    """
    small, steps = _shrunk(image)
    pitch = steps * (1.0 if spacing is None else np.array(spacing))
    body = _body(small, pitch)
    if not body.any():
        raise ValueError("nothing stands out from the background")
    if spacing is None:
        extent = np.array([np.ptp(line) + 1 for line in np.nonzero(body)]) * pitch
        pitch = pitch * LENGTHS[what] / extent.max()
    found = body
    if what == "brain":
        found = _brain(small, body, pitch)
        if not found.any():
            raise ValueError("no tissue is thick enough for a brain")
    if erosion:
        found = _eroded(found, erosion, pitch)
        if not found.any():
            raise ValueError(f"nothing is left of it but a rim of {erosion:g} mm")
    rows = [
        weights((np.arange(n) + 0.5) / step - 0.5, count)
        for n, step, count in zip(image.shape, steps, small.shape, strict=True)
    ]
    return along_axes(found.astype(np.float32), rows) >= 0.5


def _shrunk(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image with no side above SIDE, and how many of its pixels each new one takes."""
    counts = [min(n, SIDE) for n in image.shape]
    steps = np.array(image.shape) / counts
    rows = [
        weights((np.arange(count) + 0.5) * step - 0.5, n, antialias(step))
        for n, count, step in zip(image.shape, counts, steps, strict=True)
    ]
    return along_axes(image.astype(np.float32), rows), steps


def _body(image: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    from skimage.filters import threshold_otsu

    low, high = np.percentile(image, (0.5, 99.5))
    if not low < high:
        return np.zeros(image.shape, bool)
    clipped = np.clip(image, low, high)
    # Fat outshines the rest of a head or a chest: the whole threshold would part it from them.
    bright = clipped > low + (threshold_otsu(clipped) - low) / 2
    step = float(pitch.min())
    core = _largest(_eroded(bright, 1.5 * step, pitch))
    whole = _dilated(core, 1.5 * step, pitch) & bright
    closed = _eroded(_filled(_dilated(whole, 3 * step, pitch)), 3 * step, pitch)
    return _filled(closed)


def _brain(image: np.ndarray, body: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    depth = _depth(body, pitch)
    inner = image[depth > min(15.0, 0.6 * float(depth.max()))]
    low = float(np.percentile(image, 0.5))
    middle = float(np.median(inner)) - low
    tissue = (image > low + DARKEST * middle) & (image < low + BRIGHTEST * middle)
    # On a single slice the falx may part the halves.
    core = _largest(_eroded(tissue, ERODED, pitch), share=0.5)
    grown = _dilated(core, DILATED, pitch) & body
    closed = _eroded(_dilated(grown, CLOSED, pitch), CLOSED, pitch)
    return _filled(closed) & body


def _depth(inside: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """mm from each pixel to the nearest outside; the border of the image is none."""
    from scipy.ndimage import distance_transform_edt

    if inside.all():
        return np.full(inside.shape, np.inf)
    padded = np.pad(inside, 1, mode="edge")
    found: Any = distance_transform_edt(padded, sampling=pitch)
    return found[(slice(1, -1),) * inside.ndim]


def _eroded(inside: np.ndarray, radius: float, pitch: np.ndarray) -> np.ndarray:
    return _depth(inside, pitch) > radius


def _dilated(inside: np.ndarray, radius: float, pitch: np.ndarray) -> np.ndarray:
    return ~_eroded(~inside, radius, pitch)


def _largest(inside: np.ndarray, share: float = 1.0) -> np.ndarray:
    """The largest connected part, and what has at least a share of its size."""
    from scipy.ndimage import label

    parts: Any
    parts, count = label(inside)  # pyright: ignore[reportGeneralTypeIssues]
    if count == 0:
        return inside
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return (sizes >= share * sizes.max())[parts]


def _filled(inside: np.ndarray) -> np.ndarray:
    """Holes filled in every plane: a lung or a sinus is open to the outside somewhere in 3D."""
    from scipy.ndimage import binary_fill_holes

    if inside.ndim == 2:
        return np.asarray(binary_fill_holes(inside))
    for axis in range(3):
        if min(np.delete(inside.shape, axis)) > 1:
            turned = np.moveaxis(inside, axis, 0)
            planes: list[Any] = [binary_fill_holes(plane) for plane in turned]
            inside = np.moveaxis(np.stack(planes), 0, axis)
    return inside
