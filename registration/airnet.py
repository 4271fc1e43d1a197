"""AIR-net: a generator of rigid or affine transforms, and a critic of how a pair is aligned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import ops

from ganatomy.game import Noise
from ganatomy.objectives import gradient_penalty, wasserstein
from registration.aligner import Aligner, Alignment, counted, joined
from registration.fields import to_voxels, warp
from registration.matrices import AFFINE, RIGID, sampling_points
from registration.motion_network import motion_network, nodes_of
from registration.pair_critic import pair_critic
from registration.perturbations import (
    Range,
    bend,
    displacement,
    draws,
    matrix_of,
    perturb,
    without_affine,
)
from registration.transforms import Affine, Transform
from registration.warp import coverage, resample

Tensor = Any

DARK = -1.0  # what samples are where a scan shows nothing
_COARSE = {2: (4, 4), 3: (4, 4, 4)}  # points of a bending
_POINTS = 600  # about so many over which an error is the mean


class AirNet(Aligner):
    """The residual transform of a pair by a generator, judged by a critic of pairs.

    A training pair lies on each other. Both scans are placed anew (an affine map, so that the
    fixed scan is never seen twice alike), the moving scan is displaced by a known transform whose
    error in mm is uniform up to `reach`, and the generator has to undo it. The critic tells pairs
    resampled by the true transform from those resampled by the generator's and from those left as
    they were. Maps are composed first, so every pair has gone through one interpolation; where any
    of the three shows nothing, none is judged, so that borders give nothing away.

    A transform is predicted again and again, from where the last one led, until it moves the
    points by less than `still` mm. Every pass sees the one grid: coarse to fine is only what may
    come after it, the refinement by mutual information.

    Args:
        shape: of a sample, (*grid, channels).
        spacing: mm a voxel of the grid; the preprocessing's.
        motion: 'rigid' or 'affine'.
        reach: mm, the largest initial error.
        placing: mm by which both scans are displaced together.
        contrast: deviation of the logarithm of the gamma by which each scan's shades are changed.
        cut: share of each side that is hidden at either end at most, of both scans apart. Without
            it the ends of a scan's field of view, which are displaced with the patient here and
            with nothing elsewhere, are what a network learns to look at.
        bending: mm, the largest mean displacement of a bending that the moving scan has beside its
            motion, with no affine part: of scans that no affine map lays on each other.
        width: channels of the generator's first convolution.
        critic_width: of the critic's.
        passes: at most so many predictions a pair.
        still: mm.
        settings: see `AdversarialModel`.

    Raises:
        ValueError: spacings that are not one an axis, or another motion.

    Reference: Yan et al. 2018, "Adversarial image registration with application for MR and TRUS
    image fusion", section 2; the objectives are those of Gulrajani et al. 2017, equation 3, and
    the supervised distance is of points, not of parameters.
    """

    bends = False
    roles: ClassVar[dict[str, str]] = {"fixed": "joined", "moving": "joined"}
    grids: ClassVar[dict[str, str]] = {"moving": "fixed"}
    default_weights: ClassVar[dict[str, Any]] = {
        "discriminator/penalty": 10.0,
        "generator/adversarial": [[300, 0.0], [1000, 0.05]],
        "generator/vectors": 0.5,
    }
    default_optimizer: ClassVar[dict[str, float]] = {
        "learning_rate": 1e-3,
        "beta_1": 0.5,
        "beta_2": 0.99,
    }

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        spacing: Sequence[float],
        motion: Literal["rigid", "affine"] = "rigid",
        reach: float = 20.0,
        placing: float = 15.0,
        contrast: float = 0.3,
        cut: float = 0.25,
        bending: float = 0.0,
        width: int = 16,
        critic_width: int = 8,
        passes: int = 6,
        still: float = 0.1,
        **settings: Any,
    ):
        super().__init__(**settings)
        *sides, _ = shape
        if len(spacing) != len(sides) or min(spacing) <= 0:
            raise ValueError(f"spacing is {spacing}; expected {len(sides)} positive numbers, mm")
        if motion not in ("rigid", "affine"):
            raise ValueError(f"motion is {motion!r}; expected 'rigid' or 'affine'")
        self.shape, self.sides, self.rank = tuple(shape), tuple(sides), len(sides)
        self.reach, self.placing, self.contrast = reach, placing, contrast
        self.cut, self.bending = cut, bending
        self.width, self.critic_width = width, critic_width
        self.passes, self.still = passes, still
        self.count = (RIGID if motion == "rigid" else AFFINE)[self.rank]
        middle = (np.array(sides) - 1) / 2
        # mm from the middle of the grid, which is what turns are about.
        self.grid = np.diag([*map(float, spacing), 1.0])
        self.grid[:-1, -1] = -middle * np.array(spacing)
        every = [max(1, round(side / _POINTS ** (1 / self.rank))) for side in sides]
        self.some = (slice(None), *(slice(step // 2, None, step) for step in every))
        index = np.moveaxis(np.indices(self.sides)[self.some], 0, -1).reshape(-1, self.rank)
        places = index * np.array(spacing) + self.grid[:-1, -1]
        self.places = places.astype(np.float32)
        self.origin = np.zeros(self.rank, np.float32)
        self.assemble()

    @property
    def noise(self) -> dict[str, Noise]:
        bend = {"bend": Noise("normal", (*_COARSE[self.rank], self.rank)), "bent": Noise("uniform")}
        return {
            **(bend if self.bending else {}),
            "direction": Noise("normal", draws(self.count)),
            "error": Noise("uniform"),
            "placing": Noise("normal", draws(AFFINE[self.rank])),
            "placed": Noise("uniform"),
            "gamma": Noise("normal", (2,)),
            "cut": Noise("uniform", (2, 2, self.rank)),
            "mix": Noise("uniform"),
        }

    def build_networks(self) -> dict[str, keras.Model]:
        return {
            "generator": motion_network(self.shape, self.grid, self.count, self.width),
            "discriminator": pair_critic(self.shape, self.critic_width, norm=None),
        }

    def play(self, batch: Any) -> dict[str, Tensor]:
        fixed, moving = (self._shades(batch[role], batch["gamma"][:, i]) for i, role in _ROLES)
        if self.bending:
            moving = self._bent(moving, batch["bend"], self.bending * batch["bent"])
        weights = self._weights(fixed)
        wide = Range(linear=0.35, shift=30.0)
        place = self._drawn(batch["placing"], self.placing * batch["placed"], weights, wide)
        both: Any = joined(fixed, moving)
        both, seen = self._seen(both, place)
        channels = self.shape[-1]
        fixed, true = both[..., :channels], both[..., channels:]

        weights = self._weights(fixed)
        limits = Range(angle=np.pi / 6, shift=1.5 * self.reach)
        away = self._drawn(batch["direction"], self.reach * batch["error"], weights, limits)
        start, started = self._seen(moving, ops.matmul(place, away))
        views = [self._view(batch["cut"][:, i]) for i, _ in _ROLES]
        looked_at = (_hidden(one, view) for one, view in zip((fixed, start), views, strict=True))
        parameters, vectors, counts = self._predicted(*looked_at)
        back = matrix_of(parameters, self.origin)
        left = ops.matmul(away, back)
        moved, found = self._seen(moving, ops.matmul(place, left))
        mask: Any = seen * started * views[0] * views[1]
        mask = mask * found * self._covered(back)
        return {
            "true": _masked(fixed, true, mask),
            "moved": _masked(fixed, moved, mask),
            "start": _masked(fixed, start, mask),
            "left": left,
            "weights": weights,
            "vectors": vectors,
            "counts": counts,
            "goal": ops.inv(away),
        }

    def discriminator_terms(self, batch: Any, played: Any) -> dict[str, Any]:
        critic = self._critic
        true = critic(played["true"])
        objective = wasserstein()
        return {
            "adversarial": objective.critic(true, critic(played["moved"])),
            "start": objective.critic(true, critic(played["start"])),
            "penalty": lambda: gradient_penalty(
                critic, played["true"], played["start"], batch["mix"]
            ),
        }

    def generator_terms(self, batch: Any, played: Any) -> dict[str, Any]:
        nodes = nodes_of(self.networks["generator"])
        goal: Any = played["goal"]
        sent: Any = ops.matmul(nodes[None], ops.swapaxes(goal[:, :-1, :-1], 1, 2))
        miss: Any = played["vectors"] - (sent + goal[:, None, :-1, -1] - nodes)
        squared: Any = ops.sum(ops.square(miss), axis=-1)
        length: Any = ops.sqrt(squared + 1e-6)  # its slope at 0 is finite
        counts: Any = ops.stop_gradient(played["counts"])
        total: Any = ops.sum(counts * length, axis=-1)
        return {
            "distance": displacement(played["left"], self.places, played["weights"]),
            "vectors": total / ops.sum(counts, axis=-1),
            "adversarial": lambda: wasserstein().generator(self._critic(played["moved"])),
        }

    def examine(self, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        generator = self.network("generator")
        weights = self._weights(fixed)
        one: Any = ops.eye(self.rank + 1)
        none: Any = ops.zeros_like(weights)
        start: Any = none[:, :1, None] + one

        def goes_on(turn: Tensor, matrix: Tensor, moves: Tensor) -> Tensor:
            return ops.logical_and(turn < self.passes, ops.any(moves > self.still))

        def once(turn: Tensor, matrix: Tensor, moves: Tensor):
            moved, _ = self._seen(moving, matrix)
            step = matrix_of(self._residual(generator, fixed, moved)[0], self.origin)
            # What stands still stays, whoever else still moves.
            step = ops.where(moves[:, None, None] > self.still, step, one)
            return turn + 1, ops.matmul(matrix, step), displacement(step, self.places, weights)

        far = ops.full_like(start[:, 0, 0], np.inf)
        ended: Any = ops.while_loop(goes_on, once, (0, start, far))
        matrix: Any = ended[1]
        moved, mask = self._seen(moving, matrix)
        score = self.judged(fixed, moved, mask)
        rows = ops.reshape(matrix[:, : self.rank], [-1, self.rank * (self.rank + 1)])
        return rows, moved, score

    def judged(self, fixed: Tensor, moved: Tensor, seen: Tensor) -> Tensor:
        return self.network("discriminator")(_masked(fixed, moved, seen), training=False)

    def transform(
        self, alignment: Alignment, index: int, fixed_grid: np.ndarray, moving_grid: np.ndarray
    ) -> Transform:
        matrix = np.eye(self.rank + 1)
        matrix[:-1] = np.reshape(alignment.transform[index], (self.rank, self.rank + 1))
        if self.count == RIGID[self.rank]:
            # Products in float32 are rotations to 1e-6 only.
            left, _, right = np.linalg.svd(matrix[:-1, :-1])
            matrix[:-1, :-1] = left @ right
        voxels = np.linalg.inv(self.grid) @ matrix @ self.grid
        return Affine(moving_grid @ voxels @ np.linalg.inv(fixed_grid))

    # The parts of a step ---------------------------------------------------------------------

    def _critic(self, pair: Tensor) -> Tensor:
        return self.networks["discriminator"](pair, training=True)

    def _predicted(self, fixed: Tensor, moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._residual(self.networks["generator"], fixed, moved, training=True)

    @staticmethod
    def _residual(
        generator: Any, fixed: Tensor, moved: Tensor, training: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        found = generator(joined(fixed, moved), training=training)
        return found["parameters"], found["vectors"], found["counts"]

    def _seen(self, image: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """The image through a matrix in mm, and where it shows anything, [B, *sides, 1]."""
        points = sampling_points(self.sides, self.grid, self.grid, matrix)
        known = coverage(ops.stop_gradient(points), self.sides)
        found = resample(image, points, border="constant", value=DARK)
        return found, known

    def _covered(self, matrix: Tensor) -> Tensor:
        points = sampling_points(self.sides, self.grid, self.grid, ops.stop_gradient(matrix))
        return coverage(points, self.sides)

    def _view(self, cuts: Any) -> Tensor:
        """[B, *sides, 1], 1 within a box; of cuts [B, 2, rank], shares of the largest cut."""
        view: Any = 1.0
        for axis, side in enumerate(self.sides):
            wide = [1] * (self.rank + 2)
            wide[axis + 1] = side
            place = np.linspace(0.0, 1.0, side, dtype=np.float32).reshape(wide)
            for end, from_it in enumerate((place, 1 - place)):
                hidden: Any = ops.reshape(cuts[:, end, axis], [-1] + [1] * (self.rank + 1))
                view = view * ops.cast(from_it - self.cut * hidden >= 0, "float32")
        return view

    def _weights(self, fixed: Tensor) -> Tensor:
        """[B, P], what each point of `places` counts."""
        return ops.reshape(counted(fixed[self.some]), [-1, len(self.places)])

    def _drawn(self, noise: Tensor, error: Tensor, weights: Tensor, limits: Range) -> Tensor:
        found = perturb(noise, error, self.places, weights=weights, limits=limits)
        return matrix_of(found, self.origin)

    def _bent(self, image: Tensor, noise: Tensor, error: Tensor) -> Tensor:
        columns = self.grid[:-1, :-1].astype(np.float32)
        field = bend(without_affine(noise), error, self.sides, columns)
        return warp(image, to_voxels(field, columns), value=DARK)

    def _shades(self, image: Tensor, gamma: Tensor) -> Tensor:
        """The image with its shades changed, black and white left as they are."""
        power: Any = ops.exp(self.contrast * gamma)
        power = ops.reshape(power, (-1,) + (1,) * (self.rank + 1))
        changed: Any = ops.power(ops.clip((image + 1.0) / 2.0, 1e-4, 1.0), power)
        return 2.0 * changed - 1.0


_ROLES = ((0, "fixed"), (1, "moving"))


def _masked(fixed: Tensor, moved: Tensor, mask: Tensor) -> Tensor:
    """A pair for the critic, dark where it is not to look."""
    return _hidden(joined(fixed, moved), mask)


def _hidden(image: Any, view: Tensor) -> Tensor:
    """Dark outside the view."""
    return (image - DARK) * view + DARK
