"""The verb `compare`: measures between two folders of images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganatomy.exits import plain_errors
from ganatomy.measuring import json_option, say_failed
from ganatomy.quiet import import_tensorflow

if TYPE_CHECKING:
    from ganatomy.measures import Measure
    from ganatomy.scans import Scan

images_path = click.Path(path_type=Path, exists=True)


@click.command()
@click.argument("a", type=images_path)
@click.argument("b", type=images_path)
@click.option(
    "--range",
    "ends",
    nargs=2,
    type=float,
    help="Lowest and highest intensity, for PSNR, SSIM and networks; those of B by default.",
)
@click.option(
    "--features",
    type=click.Choice(["mednist", "vgg19"]),
    default="mednist",
    show_default=True,
    help="The network that FID, KID and the perceptual distance see through.",
)
@json_option
@plain_errors
def compare(
    a: Path, b: Path, ends: tuple[float, float] | None, features: str, json_file: Path | None
) -> None:
    """Measure the images of A beside those of B: pictures, NIfTI files, DICOM series.

    Images of one name are pairs, and B's are the truth. Sets are compared whether they pair or not.
    """
    if json_file is not None and not json_file.parent.is_dir():
        raise click.UsageError(f"--json {json_file}: no such folder {json_file.parent}")
    if ends is not None and not ends[0] < ends[1]:
        raise click.UsageError(f"--range {ends[0]:g} {ends[1]:g}: the first is the lower")
    import_tensorflow()
    found = compare_folders(a, b, ends, features)
    _print(found)
    if json_file is not None:
        json_file.write_text(json.dumps(_as_json(found), indent=2))
    say_failed(found["failed"])


def compare_folders(
    a: Path, b: Path, ends: tuple[float, float] | None = None, features: str = "mednist"
) -> dict[str, Any]:
    """Measures between two folders of images, read one by one.

    Args:
        a: a folder, or one image.
        b: another, whose images are the truth of those of the same name in `a`.
        ends: the lowest and the highest intensity; those of `b` where None.
        features: the network of FID, KID and the perceptual distance.

    Returns:
        `images` of both, `pairs`, `range`, `paired`, `sets` and `each` as lists of measures, and
        `failed`, a line an image that could not be read or compared.

    Raises:
        WrongUse: no image that can be read in one of them, or images of one intensity.
    """
    from ganatomy.errors import WrongUse
    from ganatomy.measures.distribution import set_measures
    from ganatomy.measures.histograms import histogram_measures
    from ganatomy.measures.paired import over_images
    from ganatomy.measures.seen import of_sets

    paths = _named(a), _named(b)
    if len(paths[0]) == len(paths[1]) == 1:  # one image each: a pair, whatever they are called
        paths = {"": next(iter(paths[0].values()))}, {"": next(iter(paths[1].values()))}
    failed: dict[str, None] = {}
    low, high = _ends(paths[1], failed) if ends is None else ends
    sides = [_Side(low, high, features), _Side(low, high, features)]
    each = []
    for name in sorted({*paths[0], *paths[1]}):
        scans = []
        for side, own in zip(sides, paths, strict=True):
            scan = _read(own[name], failed) if name in own else None
            scans.append(scan)
            if scan is not None:
                side.add(scan)
        if scans[0] is not None and scans[1] is not None:
            try:
                each.append(_pair(scans[0], scans[1], low, high, features))
            except WrongUse as error:
                failed[str(error)] = None
    for side, folder in zip(sides, (a, b), strict=True):
        if not side.count:
            raise WrongUse(f"{folder} has no image that can be read: {next(iter(failed), '')}")
    counts = [side.counts for side in sides]
    sets: list[Measure] = []
    if {*counts[0]} == {*counts[1]}:
        for channels in sorted(counts[0]):
            sets += histogram_measures(counts[0][channels], counts[1][channels], low, high)
    else:
        failed[f"{a} and {b} differ in channels: their histograms are not compared"] = None
    seen = [side.features() for side in sides]
    few = [str(folder) for folder, f in zip((a, b), seen, strict=True) if len(f) < 2]
    if few:
        failed[f"{few[0]} has fewer than 2 pictures: FID and KID need two sets of them"] = None
    else:
        sets += set_measures(seen[0], seen[1], of_sets(features))
    return {
        "images": [side.count for side in sides],
        "pairs": len(each),
        "range": [low, high],
        "paired": over_images(each),
        "sets": sets,
        "each": [
            measure._replace(name=f"{measure.name} of {which}")
            for which, side in zip("AB", sides, strict=True)
            for measure in over_images(side.own)
        ],
        "failed": list(failed),
    }


class _Side:
    """What is kept of the images of one folder: counts and features, never pixels."""

    def __init__(self, low: float, high: float, network: str):
        self.low, self.high, self.network = low, high, network
        self.count = 0
        self.counts: dict[int, Any] = {}
        self.own: list[list[Measure]] = []
        self._features: list[Any] = []

    def add(self, scan: Scan) -> None:
        from ganatomy.measures import Measure
        from ganatomy.measures.histograms import histogram, median_intensity
        from ganatomy.measures.seen import network_features
        from ganatomy.measures.visual import global_contrast

        self.count += 1
        channels = scan.channels
        counted = histogram([scan.pixels], self.low, self.high)
        self.counts[channels] = self.counts.get(channels, 0) + counted
        self.own.append([global_contrast(scan.pixels, self.low, self.high)])
        if channels == 3 and scan.pixels.min() >= 0 and scan.pixels.any():
            stain = median_intensity(scan.pixels)
            self.own[-1].append(
                Measure("median/P95", stain, "normalised median intensity (stains)")
            )
        self._features.append(network_features(scan.pixels, self.low, self.high, self.network))

    def features(self) -> Any:
        import numpy as np

        return np.concatenate(self._features)


def _named(folder: Path) -> dict[str, Path]:
    """The images of a folder by their paths in it, without what says the kind of file."""
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


def _read(path: Path, failed: dict[str, None]) -> Scan | None:
    from ganatomy.scans import ScanError, read_scan

    try:
        return read_scan(path)
    except ScanError as error:
        failed[str(error)] = None
        return None


def _ends(paths: dict[str, Path], failed: dict[str, None]) -> tuple[float, float]:
    from ganatomy.errors import WrongUse

    lows, highs = [], []
    for path in paths.values():
        scan = _read(path, failed)
        if scan is not None:
            lows.append(float(scan.pixels.min()))
            highs.append(float(scan.pixels.max()))
    if not lows:
        raise WrongUse(next(iter(failed)))
    return min(lows), max(highs)


def _pair(found: Scan, truth: Scan, low: float, high: float, network: str) -> list[Measure]:
    import numpy as np

    from ganatomy.errors import WrongUse
    from ganatomy.measures.paired import paired_measures
    from ganatomy.measures.seen import feature_distance

    if found.pixels.shape != truth.pixels.shape:
        shapes = [" × ".join(map(str, scan.pixels.shape)) for scan in (found, truth)]
        raise WrongUse(f"{found.path} is {shapes[0]}, {truth.path} is {shapes[1]}: no pair")
    here, there = found.affine, truth.affine
    if here is not None and there is not None and not np.allclose(here, there, atol=1e-2):
        raise WrongUse(f"{found.path} and {truth.path} lie in different places: no pair")
    seen = feature_distance(found.pixels, truth.pixels, low, high, network)
    measures = paired_measures(found.pixels, truth.pixels, high - low)
    return measures + ([] if seen is None else [seen])


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("measure", "value", "95 % interval", "definition", show_lines=False)
    for part in ("paired", "sets", "each"):
        for measure in found[part]:
            value = measure.value
            interval = ""
            if isinstance(value, tuple):
                interval = f"{value.low:.4g} to {value.high:.4g}"  # type: ignore[attr-defined]
                value = value[0]
            name = measure.name.replace("[", r"\[")  # no markup
            table.add_row(name, f"{value:.4g}", interval, measure.definition)
        table.add_section()
    images, low, high = found["images"], *found["range"]
    click.echo(f"{images[0]} images of A, {images[1]} of B, {found['pairs']} pairs by name")
    click.echo(f"intensities from {low:g} to {high:g}")
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _as_json(found: dict[str, Any]) -> dict[str, Any]:
    parts = ("paired", "sets", "each")
    return {**found, **{part: [m.to_dict() for m in found[part]] for part in parts}}
