"""The verb `compare`: measures between two folders of images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganatomy.exits import plain_errors
from ganatomy.image_pairs import check_pair, check_place, label_map, named_images, read_or_note
from ganatomy.measuring import json_option, say_failed
from ganatomy.quiet import import_tensorflow

if TYPE_CHECKING:
    from ganatomy.measures import Measure
    from ganatomy.scans import Scan

images_path = click.Path(path_type=Path, exists=True)
# What is found, as lists of measures: of pairs, of sets, of each folder; of label maps.
PARTS = ("paired", "sets", "each", "agreement")


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
@click.option(
    "--regions",
    type=images_path,
    help="Label maps called as the images, 1 in a region and 2 in its flat background: for noise "
    "and contrast.",
)
@click.option(
    "--labels",
    is_flag=True,
    help="A and B hold label maps: measure overlaps, and how volumes agree.",
)
@json_option
@plain_errors
def compare(
    a: Path,
    b: Path,
    ends: tuple[float, float] | None,
    features: str,
    regions: Path | None,
    labels: bool,
    json_file: Path | None,
) -> None:
    """Measure the images of A beside those of B: pictures, NIfTI files, DICOM series.

    Images of one name are pairs, and B's are the truth. Sets are compared whether they pair or not.
    """
    if labels and (ends is not None or regions is not None):
        raise click.UsageError("--labels measures label maps alone: no --range and no --regions")
    if json_file is not None and not json_file.parent.is_dir():
        raise click.UsageError(f"--json {json_file}: no such folder {json_file.parent}")
    if ends is not None and not ends[0] < ends[1]:
        raise click.UsageError(f"--range {ends[0]:g} {ends[1]:g}: the first is the lower")
    if labels:
        from ganatomy.comparing_labels import compare_labels

        found = compare_labels(a, b)
    else:
        import_tensorflow()
        found = compare_folders(a, b, ends, features, regions)
    _print(found)
    if json_file is not None:
        json_file.write_text(json.dumps(_as_json(found), indent=2))
    say_failed(found["failed"])


def compare_folders(
    a: Path,
    b: Path,
    ends: tuple[float, float] | None = None,
    features: str = "mednist",
    regions: Path | None = None,
) -> dict[str, Any]:
    """Measures between two folders of images, read one by one.

    Args:
        a: a folder, or one image.
        b: another, whose images are the truth of those of the same name in `a`.
        ends: the lowest and the highest intensity; those of `b` where None.
        features: the network of FID, KID and the perceptual distance.
        regions: label maps of the same names, see `ganatomy.measures.regions.region_measures`.

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

    named = named_images(a, b) if regions is None else named_images(a, b, regions)
    paths, maps = named[:2], named[2] if regions is not None else {}
    failed: dict[str, None] = {}
    low, high = _ends(paths[1], failed) if ends is None else ends
    sides = [_Side(low, high, features), _Side(low, high, features)]
    each = []
    for name in sorted({*paths[0], *paths[1]}):
        marked = read_or_note(maps[name], failed, constant=True) if name in maps else None
        scans = []
        for side, own in zip(sides, paths, strict=True):
            scan = read_or_note(own[name], failed) if name in own else None
            scans.append(scan)
            if scan is not None:
                side.add(scan)
                if marked is not None:
                    side.add_regions(scan, marked, failed)
                elif regions is not None and name not in maps:
                    failed[f"{scan.path} has no label map of its name in {regions}"] = None
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

    def add_regions(self, scan: Scan, regions: Scan, failed: dict[str, None]) -> None:
        """Measures of the image added last in its regions, or a line in `failed`."""
        from ganatomy.errors import WrongUse
        from ganatomy.measures.regions import region_measures
        from ganatomy.scans import ScanError

        try:
            check_place(regions, scan)
            self.own[-1] += region_measures(scan.pixels.mean(-1), label_map(regions))
        except (WrongUse, ScanError) as error:
            failed[str(error)] = None
        except ValueError as error:
            failed[f"{regions.path} as the regions of {scan.path}: {error}"] = None

    def features(self) -> Any:
        import numpy as np

        return np.concatenate(self._features)


def _ends(paths: dict[str, Path], failed: dict[str, None]) -> tuple[float, float]:
    from ganatomy.errors import WrongUse

    lows, highs = [], []
    for path in paths.values():
        scan = read_or_note(path, failed)
        if scan is not None:
            lows.append(float(scan.pixels.min()))
            highs.append(float(scan.pixels.max()))
    if not lows:
        raise WrongUse(next(iter(failed)))
    return min(lows), max(highs)


def _pair(found: Scan, truth: Scan, low: float, high: float, network: str) -> list[Measure]:
    from ganatomy.measures.paired import paired_measures
    from ganatomy.measures.seen import feature_distance

    check_pair(found, truth)
    seen = feature_distance(found.pixels, truth.pixels, low, high, network)
    measures = paired_measures(found.pixels, truth.pixels, high - low)
    return measures + ([] if seen is None else [seen])


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("measure", "value", "95 % interval", "definition", show_lines=False)
    for part in PARTS:
        for measure in found.get(part, ()):
            value = measure.value
            interval = ""
            if isinstance(value, tuple):
                if value.has_width:  # type: ignore[attr-defined]
                    interval = f"{value.low:.4g} to {value.high:.4g}"  # type: ignore[attr-defined]
                value = value[0]
            name = measure.name.replace("[", r"\[")  # no markup
            table.add_row(name, f"{value:.4g}", interval, measure.definition)
        table.add_section()
    images = found["images"]
    click.echo(f"{images[0]} images of A, {images[1]} of B, {found['pairs']} pairs by name")
    if "range" in found:
        click.echo("intensities from {:g} to {:g}".format(*found["range"]))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _as_json(found: dict[str, Any]) -> dict[str, Any]:
    parts = [part for part in PARTS if part in found]
    return {**found, **{part: [m.to_dict() for m in found[part]] for part in parts}}
