"""Inpainting: what stood in a hole, from what stands around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from keras import ops
from scipy.ndimage import distance_transform_edt

from ganatomy import losses
from ganatomy.game import Batch
from synthesis.pix2pix import Pix2Pix

Tensor = Any


class Inpainting(Pix2Pix):
    """pix2pix whose scans have a hole: the generator fills it, and critic and losses look at how.

    Scan and target are the same image, aligned; the hole is cut out of the scan here, in training
    and afterwards, and is filled with one value. So a model can be given a whole image, or one
    without its middle. A translation is the scan's own outside the hole, and what was made in it.
    A preset has no `overlap`: every window of a scan would have a hole of its own.

    Terms of the generator beside those of `Pix2Pix`: `hole`, the mean absolute difference to the
    target in the hole (100), and `context`, that in the rim around it (50), by which what is made
    goes on seamlessly; `l1`, over the whole image, has the weight 50 here. The paper weighs
    a nodule and its surroundings by masks of them; here the hole stands for the nodule.

    Args:
        shape: of one sample of the scan, (*size, C).
        hole: its sides, or the axes of an ellipsoid, in voxels, one number an axis.
        place: of its middle, in voxels from the grid's own along each axis; the grid's middle
            where None. A middle may lie between voxels.
        form: "box" or "ellipsoid".
        context: width of the rim, in voxels.
        fill: the value that stands in the hole, from -1 to 1.
        **settings: of `Pix2Pix`.

    Raises:
        ValueError: a hole that does not lie in the grid, or leaves nothing of it.

    Reference: Jin et al. 2018, CT-realistic lung nodule simulation from 3D conditional GANs,
    section 2 (a spherical hole in the middle of a volume; L1 by masks); Pathak et al. 2016.
    """

    default_weights: ClassVar[dict[str, Any]] = {
        **Pix2Pix.default_weights,
        "generator/l1": 50.0,
        "generator/hole": 100.0,
        "generator/context": 50.0,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        target_channels: int | None = None,
        hole: Sequence[float] = (),
        place: Sequence[float] | None = None,
        form: Literal["box", "ellipsoid"] = "box",
        context: float = 3.0,
        fill: float = -1.0,
        **settings: Any,
    ):
        if target_channels not in (None, shape[-1]):
            raise ValueError("what is filled in has the scan's channels: leave out target_channels")
        self.fill = fill
        self.hole, self.rim = hole_and_rim(tuple(shape[:-1]), hole, place, form, context)
        super().__init__(shape, **settings)

    def condition(self, scan: Tensor) -> Tensor:
        return self._filled(scan, self.fill)

    def _filled(self, scan: Tensor, filling: Tensor) -> Tensor:
        hole = self.hole.astype("float32")[None, ..., None]
        scan = ops.cast(scan, "float32")
        return scan * (1 - hole) + filling * hole

    def generator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        made, target = played["generated"], batch["target"]
        return {
            **super().generator_terms(batch, played),
            "hole": lambda: losses.l1(made, target, within=_of_all(self.hole, made)),
            "context": lambda: losses.l1(made, target, within=_of_all(self.rim, made)),
        }

    def generate(self, x: Tensor) -> Tensor:
        return self._filled(x, super().generate(x))


def hole_and_rim(
    sides: tuple[int, ...],
    hole: Sequence[float],
    place: Sequence[float] | None,
    form: str,
    context: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Where a hole and the rim around it lie, bool [*sides] each.

    A voxel is in the hole where its middle is; in the rim where it is not, and is no farther than
    `context` voxels from one that is.

    Args:
        sides: of the grid, voxels.
        hole: as all others, of `Inpainting`.

    Raises:
        ValueError: a hole that does not lie in the grid, or leaves nothing of it.
    """
    rank = len(sides)
    place = [0.0] * rank if place is None else list(place)
    if len(hole) != rank or len(place) != rank or min(hole) <= 0:
        raise ValueError(f"hole needs {rank} numbers above 0, in voxels, and place as many")
    if form not in ("box", "ellipsoid"):
        raise ValueError(f"form is box or ellipsoid, not {form!r}")
    apart = [
        (np.arange(side) - (side - 1) / 2 - middle) / (wide / 2)
        for side, middle, wide in zip(sides, place, hole, strict=True)
    ]
    for axis, (side, middle, wide) in enumerate(zip(sides, place, hole, strict=True)):
        if abs(middle) + wide / 2 > side / 2:
            raise ValueError(
                f"a hole of {wide:g} voxels at {middle:g} from the middle does not lie in the "
                f"{side} of axis {axis}"
            )
    far = np.stack(np.meshgrid(*apart, indexing="ij"))
    inside = (np.abs(far).max(0) < 1) if form == "box" else (np.square(far).sum(0) < 1)
    if not inside.any() or inside.all():
        raise ValueError(f"a hole of {tuple(hole)} in {sides} voxels: it leaves nothing, or all")
    distance: Any = distance_transform_edt(~inside)
    return inside, ~inside & (distance <= context)


def _of_all(mask: np.ndarray, like: Tensor) -> Tensor:
    """The mask once for each sample, [B, *grid]."""
    return ops.zeros_like(ops.cast(like[..., 0], "float32")) + mask.astype("float32")
