"""Pairs that no public collection at hand has, made of real scans by what is said here.

    python -m benchmarks.simulated_pairs --data COLLECTIONS --out FOLDER [NAME ...]

Each name gets a folder of NIfTI files and train.csv and test.csv, of different patients where there
are several: columns scan, target, patient, and what else a maker gives. What is simulated is said
by the function of the name; nothing is drawn but by a number of the subject, so that the same scans
give the same files.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import nibabel
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from benchmarks.translation_data import PATIENTS, write
from ganatomy.scans import Scan, read_scan

Row = dict[str, "Path | str"]
FULL = 1000.0  # what a stack's contrasts are scaled to, from their 1st to their 99th percentile
FWHM = 2.3548  # of a Gaussian, in standard deviations
PIXELS, PIXEL_MM, PLANES = 64, 4.0, 300
BANDS = np.linspace(420, 680, 8)  # nm
COLOURS = (610.0, 540.0, 460.0)  # nm, where red, green and blue of a photograph weigh most


# Several contrasts ------------------------------------------------------------------------------


def stacks(root: Path, out: Path, kinds: tuple[str, ...], target: str) -> Iterator[Row]:
    """Real contrasts of one head as channels of one volume, at half the resolution in the plane.

    Nothing is simulated: each contrast is scaled to its own percentiles, for all channels of a scan
    are prepared alike.
    """
    for patient in PATIENTS:
        series = root / "brain-mr-dicom" / patient
        scans = [read_scan(series / kind) for kind in kinds]
        pixels = np.concatenate([_scaled(scan.pixels, FULL) for scan in scans], axis=-1)
        rows, columns, slices, count = pixels.shape
        halved = pixels.reshape(rows // 2, 2, columns // 2, 2, slices, count).mean((1, 3))
        step = np.diag([2.0, 2.0, 1.0, 1.0])
        step[:2, 3] = 0.5
        first: Scan = scans[0]
        assert first.affine is not None
        file = save(out / f"{patient}.nii.gz", np.rint(halved), first.affine @ step, np.int16)
        yield {"scan": file, "target": series / target, "patient": patient}


def contrasts_to_post(root: Path, out: Path) -> Iterator[Row]:
    """T1 and T2, and the T1 after contrast medium: its vessels stand for an angiogram's."""
    return stacks(root, out, ("t1", "t2"), "t1-post")


def four_contrasts(root: Path, out: Path) -> Iterator[Row]:
    """T1, T1 after contrast medium, T2 and FLAIR; the target is the FLAIR, contrast 3."""
    return stacks(root, out, ("t1", "t1-post", "t2", "flair"), "flair")


def bands(root: Path, out: Path) -> Iterator[Row]:
    """Spectral bands of fundi, and their photographs.

    Simulated: a band is the photograph's colours, weighed by Gaussians of 40 nm about where red,
    green and blue see most, with noise of 2% of white; colours of the bands are the photograph.
    """
    weights = np.exp(-(((BANDS[:, None] - np.array(COLOURS)) / 40) ** 2) / 2)
    weights /= weights.sum(1, keepdims=True)
    for n, path in enumerate(sorted((root / "retina-vessels" / "images").glob("*.jpg"))):
        photograph = _shrunk(read_scan(path).pixels, 4)
        draw = np.random.default_rng(n).normal(0, 5, (*photograph.shape[:2], len(BANDS)))
        seen = np.clip(photograph @ weights.T + draw, 0, 255).astype(np.float32)
        yield {
            "scan": save(out / f"{path.stem}-bands.nii.gz", seen[:, :, None]),
            "target": save(out / f"{path.stem}.nii.gz", photograph[:, :, None]),
            "patient": path.stem[:-1],
        }


def lesions(root: Path, out: Path) -> Iterator[Row]:
    """Maps of vessels and of lesions as two channels, and fundi that show both.

    Simulated: 8 to 20 bright round spots of 4 to 12 pixels (of 240), blurred at their rims, stand
    for exudates; they are drawn on real photographs, and their places on the map.
    """
    source = root / "retina-vessels"
    for n, path in enumerate(sorted((source / "images").glob("*.jpg"))):
        rng = np.random.default_rng(n)
        photograph = _shrunk(read_scan(path).pixels, 4)
        vessels = _shrunk(read_scan(source / "vessels" / f"{path.stem}.png").pixels, 4)[..., :1]
        sides = photograph.shape[:2]
        rows, columns = np.indices(sides)
        spots = np.zeros(sides, bool)
        for _ in range(rng.integers(8, 21)):
            angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.35) * min(sides)
            middle = sides[0] / 2 + far * np.sin(angle), sides[1] / 2 + far * np.cos(angle)
            spots |= np.hypot(rows - middle[0], columns - middle[1]) < rng.uniform(2, 6)
        share = gaussian_filter(spots.astype(np.float32), 1.0)[..., None]
        shown = photograph * (1 - share) + np.array([245, 225, 150], np.float32) * share
        both = np.concatenate([_scaled(vessels, 1, (0, 100)), spots[..., None]], -1)
        yield {
            "scan": save(out / f"{path.stem}-map.nii.gz", both[:, :, None]),
            "target": save(out / f"{path.stem}.nii.gz", shown[:, :, None]),
            "patient": path.stem[:-1],
        }


# A tracer's uptake --------------------------------------------------------------------------------


def uptake(mr: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A simulated PET of a T1 crop: times the mean uptake of a body, float32 of its shape.

    What surrounds the hippocampus takes up 0.4 to 1.2, rising with the T1 intensity; its anterior
    part 3.2 to 4.5 and its posterior part 1.8 to 2.6, drawn for the subject. Blurred by 3 mm
    (full width at half maximum), then counts: 200 a voxel at an uptake of 1.
    """
    image = 0.4 + 0.8 * _scaled(mr, 1)
    image = np.where(labels == 1, rng.uniform(3.2, 4.5), image)
    image = np.where(labels == 2, rng.uniform(1.8, 2.6), image)
    blurred = gaussian_filter(image, 3 / FWHM)
    return (rng.poisson(200 * blurred) / 200).astype(np.float32)


def hippocampi(root: Path) -> Iterator[tuple[int, str, Scan, np.ndarray]]:
    """Number, name, T1 crop and labels [i, j, k] of every subject."""
    source = root / "hippocampus-mr"
    for path in sorted((source / "images").glob("*.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        labels = read_scan(source / "labels" / path.name).pixels[..., 0]
        yield int(name.rpartition("_")[2]), name, read_scan(path), labels


def mr_to_uptake(root: Path, out: Path) -> Iterator[Row]:
    """T1 crops of hippocampi, and a simulated uptake of them; see `uptake`."""
    for number, name, scan, labels in hippocampi(root):
        image = uptake(scan.pixels[..., 0], labels, np.random.default_rng(number))
        file = save(out / f"{name}.nii.gz", image, scan.affine)
        yield {"scan": Path(scan.path), "target": file, "patient": name}


def uptake_to_mr(root: Path, out: Path) -> Iterator[Row]:
    """The same, the other way: from the uptake the T1 crop."""
    for row in mr_to_uptake(root, out):
        yield {**row, "scan": row["target"], "target": row["scan"]}


def mr_and_labels_to_uptake(root: Path, out: Path) -> Iterator[Row]:
    """T1 crops beside their labels as two channels from 0 to 1, and the simulated uptake."""
    for number, name, scan, labels in hippocampi(root):
        mr = scan.pixels[..., 0]
        image = uptake(mr, labels, np.random.default_rng(number))
        both = np.stack([_scaled(mr, 1), labels / 2], -1)
        yield {
            "scan": save(out / f"{name}-both.nii.gz", both, scan.affine),
            "target": save(out / f"{name}.nii.gz", image, scan.affine),
            "patient": name,
        }


# Maps and places ----------------------------------------------------------------------------------


def speckle_to_mr(root: Path, out: Path) -> Iterator[Row]:
    """What a scatterer model makes of maps of hippocampi, and their T1 crops.

    Simulated: each label has a density of scatterers (0.3, 0.8, 0.55 of the brightest); random
    real and imaginary amplitudes, blurred by 1 voxel, give the envelope, whose speckle is
    Rayleigh's; then its logarithm over 30 dB.
    """
    for number, name, scan, labels in hippocampi(root):
        rng = np.random.default_rng(number)
        density = np.array([0.3, 0.8, 0.55])[labels.astype(int)]
        parts = rng.normal(size=(2, *labels.shape)) * density
        envelope = np.hypot(*(gaussian_filter(part, 1.0) for part in parts))
        decibels = 20 * np.log10(envelope / envelope.max() + 1e-6)
        image = np.clip(decibels / 30 + 1, 0, 1).astype(np.float32)
        file = save(out / f"{name}.nii.gz", image, scan.affine)
        yield {
            "scan": file,
            "target": Path(scan.path),
            "scan_labels": root / "hippocampus-mr" / "labels" / f"{name}.nii.gz",
            "patient": name,
        }


def positions(root: Path, out: Path) -> Iterator[Row]:
    """Where each pixel of an oblique plane lies, x, y and z in mm, and the CT there.

    Simulated: planes as a free hand would take them, turned by up to 25 degrees about each axis
    and moved by up to 40 mm, of **one** trunk; that of a probe would be tracked. Every fifth
    plane is measured on: another place, the same patient.
    """
    scan = read_scan(root / "body-ct" / "body-3mm.nii.gz")
    assert scan.affine is not None
    middle = scan.affine @ [*(np.array(scan.shape) - 1) / 2, 1]
    back = np.linalg.inv(scan.affine)
    line = (np.arange(PIXELS) - (PIXELS - 1) / 2) * PIXEL_MM
    grid = np.stack([*np.meshgrid(line, line, indexing="ij"), np.zeros((PIXELS, PIXELS))], -1)
    for number in range(PLANES):
        rng = np.random.default_rng(number)
        turned = Rotation.from_euler("xyz", rng.uniform(-25, 25, 3), degrees=True).apply(
            grid.reshape(-1, 3)
        )
        place = (turned + rng.uniform(-40, 40, 3)).reshape(PIXELS, PIXELS, 3)
        at = np.moveaxis((place + middle[:3]) @ back[:3, :3].T + back[:3, 3], -1, 0)
        image = map_coordinates(scan.pixels[..., 0], at, order=1, cval=-1000.0)
        yield {
            "scan": save(out / f"{number:03d}-place.nii.gz", place[:, :, None]),
            "target": save(out / f"{number:03d}.nii.gz", image[:, :, None]),
            "patient": "trunk",
            "plane": f"{number:03d}",
        }


# Files --------------------------------------------------------------------------------------------


def save(
    file: Path, pixels: np.ndarray, affine: np.ndarray | None = None, kind: type = np.float32
) -> Path:
    """A volume [i, j, k] or [i, j, k, channels] as NIfTI, channels along its fifth dimension."""
    pixels = np.asarray(pixels).astype(kind)
    if pixels.ndim == 4:
        pixels = pixels[..., None, :]
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4) if affine is None else affine), file)
    return file


def _scaled(
    pixels: np.ndarray, full: float, percentiles: tuple[float, float] = (1, 99)
) -> np.ndarray:
    low, high = np.percentile(pixels, percentiles)
    return np.clip((pixels - low) / (high - low), 0, 1) * full


def _shrunk(pixels: np.ndarray, times: int) -> np.ndarray:
    """A picture [row, column, c] of means over squares; what is left over at the ends is cut."""
    rows, columns = (side // times for side in pixels.shape[:2])
    cut = pixels[: rows * times, : columns * times]
    return cut.reshape(rows, times, columns, times, -1).mean((1, 3))


MAKERS: Mapping[str, Callable[[Path, Path], Iterator[Row]]] = {
    "contrasts-to-post": contrasts_to_post,
    "four-contrasts": four_contrasts,
    "bands": bands,
    "lesions": lesions,
    "mr-to-uptake": mr_to_uptake,
    "uptake-to-mr": uptake_to_mr,
    "mr-and-labels-to-uptake": mr_and_labels_to_uptake,
    "speckle-to-mr": speckle_to_mr,
    "positions": positions,
}


def make(name: str, root: Path, folder: Path) -> tuple[Path, Path]:
    """Files and tables of a name: what to train on and what to measure on, every fifth patient.

    Of the two heads one is trained on and one measured on; of one trunk every fifth plane.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(MAKERS[name](root, folder))
    apart = "plane" if "plane" in rows[0] else "patient"
    names = sorted({str(row[apart]) for row in rows})
    # The last of each five: of two heads the second, where fewer than five are.
    held = set(names[4::5] or names[-1:])
    parts = [[r for r in rows if (r[apart] in held) == test] for test in (False, True)]
    return write(folder / "train.csv", parts[0]), write(folder / "test.csv", parts[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help=", ".join(MAKERS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    for name in given.names or MAKERS:
        train, test = make(name, given.data, given.out / name)
        print(f"{name}: {train} {test}")


if __name__ == "__main__":
    main()
