"""Pairs out of nothing: drawn masks and their images, as files that a segmentation learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ganatomy.artifacts import refuse_full, write_whole
from ganatomy.errors import WrongUse
from ganatomy.scans import Preprocessing, Scan, ScanError, read_scan
from ganatomy.scans.framing import DISPLAY, WORLD_AXIS
from ganatomy.scans.intensity import resolve_channels

if TYPE_CHECKING:
    from synthesis.translator import Translator

ROWS = "pairs.csv"
MASKS = "masks"  # the fact of config.json that holds the values masks have
MOST = 256  # values of a mask; what holds more is an image
THICKNESS = 1.0  # mm of a slice that stands alone, which nothing says


class Pair(NamedTuple):
    """A mask that was drawn and the image that was made of it, on one grid.

    Attributes:
        mask: of the values that the masks trained on have, one channel.
        image: in the target's units where they are known.
    """

    mask: Scan
    image: Scan


def drawn(translator: Translator, count: int, seed: int) -> Iterator[Pair]:
    """Pairs of a model that generates its masks, one at a time.

    Args:
        translator: with its model.
        count: how many.
        seed: of the codes; the first of more are the same.

    Raises:
        WrongUse: the model draws nothing, or nothing says what the values of its masks are.
    """
    artifact, settings = translator.artifact_, translator.preprocessing_
    name, model = artifact.preset.name, artifact.model
    if not hasattr(model, "draw"):
        raise WrongUse(f"{name} draws no masks; hippocampus-pairs does")
    if settings.shape[-1] != 1:
        raise WrongUse(f"{name} draws masks of {settings.shape[-1]} channels; expected one")
    values = artifact.facts.get(MASKS)
    if not values:
        raise WrongUse(f"{name} does not say which whole numbers its masks held: train it again")
    levels, ends = _levels(name, settings, np.array(values, float))
    affine = _affine(settings)
    if affine is None and settings.rank == 3:
        raise WrongUse(f"{name} draws volumes without a size in mm: preprocessing.spacing gives it")
    codes = np.random.default_rng(seed).standard_normal((count, model.latent), np.float32)

    def pairs() -> Iterator[Pair]:
        for number, code in enumerate(codes, 1):
            (mask,), (image,) = model.draw(code[None])
            shown = ends[0] + (np.clip(mask, -1, 1) + 1) / 2 * (ends[1] - ends[0])
            nearest = levels[np.abs(shown - levels).argmin(-1)][..., None]
            scale = translator.values_
            yield Pair(
                _scan(nearest, affine, number, "unknown", "unknown"),
                _scan(scale.of(image), affine, number, scale.units, scale.modality),
            )

    return pairs()


def draw_to(
    translator: Translator,
    folder: Path,
    count: int,
    seed: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Pairs into a folder: masks/, images/ and, once all are there, pairs.csv.

    NIfTI where the model's grid is in mm, PNG where it is of pictures. Of pairs.csv `scan` is the
    image and `target` its mask, as a model that segments is trained.

    Args:
        translator: with its model.
        folder: made where it does not exist; has to be empty.
        count: how many.
        seed: see `drawn`.
        progress: called with (pairs done, pairs in all).

    Returns:
        pairs.csv.

    Raises:
        ArtifactError: the folder holds something.
        WrongUse: see `drawn`.
        ScanError: an image that no picture can hold.
    """
    refuse_full(folder)
    pairs = drawn(translator, count, seed)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    lines = ["scan,target"]
    for number, (mask, image) in enumerate(pairs, 1):
        suffix = ".png" if mask.affine is None else ".nii.gz"
        file = f"{number:04d}{suffix}"
        _write(image, folder / "images" / file, translator.values_.high)
        _write(mask, folder / "masks" / file)
        lines.append(f"images/{file},masks/{file}")
        if progress is not None:
            progress(number, count)
    write_whole(folder / ROWS, "\n".join([*lines, ""]))
    return folder / ROWS


def mask_facts(paths: Iterable[Path], settings: Preprocessing) -> dict[str, Any]:
    """The whole numbers that masks hold, as config.json holds them; none where they hold others.

    Args:
        paths: of the masks, all of which can be read.
        settings: that they are prepared by.
    """
    found: set[float] = set()
    for path in paths:
        scan = read_scan(path, window=settings.voi)
        found |= set(np.unique(resolve_channels(scan, settings.channels, settings.grey)).tolist())
        if len(found) > MOST:
            return {MASKS: []}
    whole = all(value == round(value) for value in found)
    return {MASKS: sorted(map(int, found)) if whole else []}


def _levels(
    name: str, settings: Preprocessing, levels: np.ndarray
) -> tuple[np.ndarray, tuple[float, float]]:
    """The values of masks that the model can tell, and what -1 and 1 stand for."""
    if settings.normalise == "window" and settings.window is not None:
        low, high = settings.window
        return levels[(levels >= low) & (levels <= high)], (low, high)
    if settings.normalise == "range" and len(levels) == 2:
        return levels, (float(levels[0]), float(levels[1]))
    raise WrongUse(
        f"{name} saw every mask in a range of its own, so that values are not told from each "
        "other: train with --set normalise=window --set window=[LOW,HIGH]"
    )


def _affine(settings: Preprocessing) -> np.ndarray | None:
    """Where the model's grid lies: about nowhere, but with its directions and mm; None without."""
    if settings.spacing is None:
        return None
    flat = settings.rank == 2 and settings.orientation is not None
    steps = (*settings.spacing, THICKNESS)[:3]
    affine = np.zeros((4, 4))
    for column, (letter, step) in enumerate(
        zip(DISPLAY[settings.plane] if flat else "RAS", steps, strict=True)
    ):
        affine[WORLD_AXIS[letter], column] = step if letter in "RAS" else -step
    affine[3, 3] = 1
    return affine


def _scan(pixels: np.ndarray, affine: np.ndarray | None, number: int, units: Any, kind: str):
    if affine is not None and pixels.ndim == 3:
        pixels = pixels[:, :, None]  # one slice of a volume, which has its place
    return Scan(pixels, affine, units, kind, f"pair {number}")


def _write(made: Scan, path: Path, high: float | None = None) -> None:
    """One file of a pair: an image (`high` as in `picture`), or a mask, whose numbers stay."""
    from synthesis.writing import nifti, picture

    kind: Any = None
    if high is None:
        least, most = int(made.pixels.min()), int(made.pixels.max())
        kind = np.promote_types(np.min_scalar_type(least), np.min_scalar_type(most))
    if made.affine is not None:
        nifti(made, kind).to_filename(path)
    elif high is not None:
        picture(made, high).save(path)
    elif kind in (np.uint8, np.uint16):
        from PIL import Image

        Image.fromarray(made.pixels[..., 0].astype(kind)).save(path)
    else:
        raise ScanError(made.path, "has values below 0 or above 65535", "a picture's, in a mask")
