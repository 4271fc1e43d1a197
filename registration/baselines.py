"""What others make of the same pairs: nothing, SimpleITK, and ANTs where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganatomy.scans import Scan
from registration.conventions import axes, other_axes
from registration.deformations import Displacement
from registration.known_transforms import Kind
from registration.registration import grid_of
from registration.transform_files import read_transform
from registration.transforms import Affine, Transform

Aligned = Callable[[Scan, Scan], Transform]


def baselines(kind: Kind) -> dict[str, Aligned]:
    """By name, what aligns a moving scan to a fixed one, both as they were read.

    Args:
        kind: of the transforms of the model they are compared with.
    """
    motion = "rigid" if kind == "rigid" else "affine"
    found: dict[str, Aligned] = {"identity": identity}
    found |= {f"SimpleITK {motion}": partial(simple_itk, motion=motion)}
    ants: dict[str, dict[str, Any]] = {f"ANTs {motion}": {"type_of_transform": motion.title()}}
    if kind == "smooth":
        # The default stops at half resolution; what takes longer is the fairer yardstick.
        fine = {"syn_metric": "CC", "syn_sampling": 2, "reg_iterations": (40, 20, 10)}
        ants = {
            "ANTs SyN": {"type_of_transform": "SyN"},
            "ANTs SyN, cross-correlation": {"type_of_transform": "SyN", **fine},
        }
    if importlib.util.find_spec("ants") is not None:
        found |= {name: partial(by_ants, **settings) for name, settings in ants.items()}
    return found


def identity(fixed: Scan, moving: Scan) -> Transform:
    """The scans as the headers have them."""
    return Affine.identity(fixed.rank)


def simple_itk(
    fixed: Scan, moving: Scan, *, motion: Literal["rigid", "affine"] = "rigid"
) -> Transform:
    """Mattes mutual information of 50 bins, three resolutions, begun at the centres of mass.

    Args:
        fixed: with a place.
        moving: the same.
        motion: 'rigid' or 'affine'.

    Reference: Mattes et al. 2003; the recipe of SimpleITK's examples.
    """
    import SimpleITK as sitk

    rank = fixed.rank
    images = [as_image(scan) for scan in (fixed, moving)]
    euler = sitk.Euler3DTransform() if rank == 3 else sitk.Euler2DTransform()
    start: Any = euler if motion == "rigid" else sitk.AffineTransform(rank)
    start = sitk.CenteredTransformInitializer(
        *images, start, sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)  # the order in which threads add up is left to chance
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.2 if images[0].GetNumberOfPixels() > 200_000 else 1.0, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SetInitialTransform(start)
    found = method.Execute(*images)
    origin = np.zeros(rank)
    corner = np.array(found.TransformPoint(origin.tolist()))
    columns = [np.array(found.TransformPoint(step.tolist())) - corner for step in np.eye(rank)]
    matrix = np.eye(rank + 1)
    matrix[:rank, :rank], matrix[:rank, rank] = np.stack(columns, 1), corner
    return Affine(other_axes(matrix))


def by_ants(fixed: Scan, moving: Scan, **settings: Any) -> Transform:
    """What `ants.registration` finds.

    Args:
        fixed: with a place.
        moving: the same.
        settings: of `ants.registration`.
    """
    ants: Any = importlib.import_module("ants")  # a program of its own; no part of ours needs it
    with tempfile.TemporaryDirectory() as folder:
        found = ants.registration(
            *(_for_ants(ants, scan) for scan in (fixed, moving)),
            outprefix=f"{folder}/",
            random_seed=1,
            **settings,
        )
        # A fixed point goes through the first file first.
        parts: list[Transform] = []
        for file in found["fwdtransforms"]:
            matrix, field, grid, _ = read_transform(Path(file))
            if field is not None and grid is not None:
                parts.append(Displacement(field, grid))
            parts.append(Affine(matrix))
        whole = parts[0]
        for part in parts[1:]:
            whole = whole.then(part)
        return whole


def as_image(scan: Scan) -> Any:
    """A scan's grey values as SimpleITK's image, at the same place."""
    import SimpleITK as sitk

    rank, (origin, spacing, direction) = scan.rank, _place(scan)
    grey = scan.pixels.mean(-1)
    image = sitk.GetImageFromArray(np.ascontiguousarray(grey.T if rank == 3 else grey))
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(origin.tolist())
    return image


def _for_ants(ants: Any, scan: Scan) -> Any:
    origin, spacing, direction = _place(scan)
    grey = scan.pixels.mean(-1)
    return ants.from_numpy(
        np.ascontiguousarray(grey if scan.rank == 3 else grey.T),
        origin=origin.tolist(),
        spacing=spacing.tolist(),
        direction=direction,
    )


def _place(scan: Scan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Origin, spacing and direction as ITK has them; of a picture columns come first."""
    grid, rank = grid_of(scan), scan.rank
    columns = axes(rank) @ grid[:rank, :rank]
    if rank == 2:
        columns = columns[:, ::-1]
    spacing = np.linalg.norm(columns, axis=0)
    return axes(rank) @ grid[:rank, rank], spacing, columns / spacing
