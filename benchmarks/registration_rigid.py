"""Rigid registration with known answers, on whole scans and on those of which a part is missing.

    python -m benchmarks registration_rigid [--quick]

The T2 of a patient is moved by known rigid transforms, in one interpolation, and is to be brought
back onto the T1 after contrast. The scans lie on each other as their headers say. They come from
the folder of public collections beside the project; ANTs takes part where `antspyx` is installed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates

from benchmarks.harness import ROOT, Result, Row, percentile
from ganatomy.scans import Scan, read_scan
from registration.baselines import baselines
from registration.conventions import grid_points
from registration.known_transforms import rigid
from registration.refining import refined
from registration.registration import grid_of
from registration.transforms import Affine, Transform

# ITK's threads, before it is loaded: one, as all others have.
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

QUESTION = "How well is a rigid transform found, also where a part of a scan is missing?"

# Folders with series of one patient, that nothing here was chosen on.
FOLDER = ROOT.parent / "shared" / "data" / "brain-mr-dicom" / "PGBM-003"
SIDE = 128  # voxels in a slice, to which scans are reduced
LIMIT = 5.0  # mm, above which a registration failed
POINTS = 500

# What is left of the moving scan's axes, from the first voxel to the last, in shares.
VIEWS: dict[str, tuple[tuple[float, float], ...]] = {
    "whole scans": ((0.0, 1.0), (0.0, 1.0), (0.0, 1.0)),
    "60 % of the width": ((0.0, 0.6), (0.0, 1.0), (0.0, 1.0)),
    "65 % of width and depth": ((0.35, 1.0), (0.0, 0.65), (0.0, 1.0)),
    "a third of the slices missing": ((0.0, 1.0), (0.0, 1.0), (0.0, 0.67)),
}


def measure(quick: bool) -> Result:
    """Errors in mm by method and by what is missing."""
    fixed, moving = (reduced(read_scan(FOLDER / name)) for name in ("t1-post", "t2"))
    points = head(fixed)
    methods = {"refinement alone, from the headers": by_refinement, **baselines("rigid")}
    views = dict(list(VIEWS.items())[:2]) if quick else VIEWS
    count = 2 if quick else 20
    result = Result()
    for view, sides in views.items():
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
        for index in range(count):
            truth = rigid(moving, 1000, index)
            # What stood at y stands at the truth's inverse of y.
            seen = cut(displaced(moving, truth), sides)
            goals = truth.inverse().map(points)
            for name, method in methods.items():
                found[name].append(judged(partial(method, fixed, seen), points, goals))
        for name, pairs in found.items():
            result.rows += rows(f"{name}, {view}", *map(np.array, zip(*pairs, strict=True)))
    result.notes = [
        f"{count} transforms of up to 15° and 20 mm about and along each axis, of the T2 of one "
        "patient to the T1 after contrast, 128×128×22 voxels of about 1.7×1.7×6.5 mm: many "
        "transforms are not many patients.",
        f"An error is the mean distance over {POINTS} points of the head; those above "
        f"{LIMIT:g} mm failed. The two scans lie on each other to about 0.2–0.9 mm, which is the "
        "floor. The refinement's settings were chosen on another patient.",
        "Everything on one thread, seconds by the processor's clock. SimpleITK with 50 bins and "
        "three resolutions from the centres of mass; ANTs as by default.",
    ]
    return result


def judged(
    method: Callable[[], Transform], points: np.ndarray, goals: np.ndarray
) -> tuple[float, float]:
    """Error in mm and seconds of one registration; infinite where it gave nothing."""
    began = time.process_time()
    try:
        transform = method()
    except (RuntimeError, ValueError):
        return np.inf, time.process_time() - began
    seconds = time.process_time() - began
    return float(np.linalg.norm(transform.map(points) - goals, axis=-1).mean()), seconds


def rows(what: str, errors: np.ndarray, times: np.ndarray) -> list[Row]:
    """What a table says of one method."""
    count = len(errors)
    finite = np.where(np.isfinite(errors), errors, 1e3)  # JSON has no infinity
    ninth = percentile(finite.tolist(), 0.9)
    return [
        Row(f"{what}: median", "mm", float(np.median(finite)), *ends(finite), f"{count} pairs"),
        Row(f"{what}: 90th percentile", "mm", ninth, *ends(finite), f"{count} pairs"),
        Row(f"{what}: failures", "", float((errors > LIMIT).sum()), 0, count, f"{count} pairs"),
        Row(f"{what}: time", "s", float(np.median(times)), *ends(times), f"{count} pairs"),
    ]


def ends(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def by_refinement(fixed: Scan, moving: Scan) -> Transform:
    return refined(fixed, moving, [Affine.identity(3)], reach="far")[0]


# Scans -----------------------------------------------------------------------------------------


def reduced(scan: Scan) -> Scan:
    """A scan with slices of 128×128 voxels."""
    pixels, grid = scan.pixels[..., 0].astype(np.float32), grid_of(scan)
    sides = np.array(pixels.shape)
    factor = float(max(sides[:2])) / SIDE
    for axis in (0, 1):
        pixels = gaussian_filter1d(pixels, 0.5 * np.sqrt(factor**2 - 1), axis=axis)
    shape = (SIDE, SIDE, int(sides[2]))
    scale = np.diag([factor, factor, 1.0, 1.0])
    scale[:3, 3] = (sides - 1) / 2 - np.diag(scale)[:3] * (np.array(shape) - 1) / 2
    index = grid_points(shape, scale)
    found = map_coordinates(pixels, np.moveaxis(index, -1, 0), order=1)
    return placed(found, grid @ scale)


def displaced(scan: Scan, transform: Affine) -> Scan:
    """`found(p) = scan(transform(p))`, on the scan's grid, by a cubic spline."""
    grid = grid_of(scan)
    back = np.linalg.inv(grid) @ transform.matrix @ grid
    index = grid_points(scan.pixels.shape[:3], back)
    found = map_coordinates(scan.pixels[..., 0], np.moveaxis(index, -1, 0), order=3)
    return placed(found, grid)


def cut(scan: Scan, sides: tuple[tuple[float, float], ...]) -> Scan:
    """What is left between two shares of each axis."""
    shape = scan.pixels.shape[:3]
    edges = [(round(a * n), round(b * n)) for (a, b), n in zip(sides, shape, strict=True)]
    grid = grid_of(scan).copy()
    grid[:3, 3] += grid[:3, :3] @ [low for low, _ in edges]
    left = tuple(slice(low, high) for low, high in edges)
    return placed(scan.pixels[..., 0][left], grid)


def placed(pixels: np.ndarray, grid: np.ndarray) -> Scan:
    return Scan(np.ascontiguousarray(pixels, np.float32)[..., None], grid, modality="MR")


def head(scan: Scan) -> np.ndarray:
    """Points of the head, [n, 3] in mm."""
    pixels = scan.pixels[..., 0]
    points = grid_points(pixels.shape, grid_of(scan))[pixels > 0.15 * np.percentile(pixels, 99)]
    return points[np.random.default_rng(5).choice(len(points), POINTS, replace=False)]
