"""Batches for a game: order, augmentation and noise as functions of (seed, step, place)."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from pydantic import BaseModel, ConfigDict, Field

from ganatomy.roles import labels as labels_of
from ganatomy.tables import TableError

# A stream of random numbers has a number below STREAMS: noise from 1, augmentation from 500.
STREAMS, NOISE, AUGMENTATION = 1009, 1, 500
# Orders have numbers too: those of roles from 0, those of samples drawn as noise from here.
PARTNERS = 100


def stream_key(seed: tf.Tensor, stream: int, step: tf.Tensor) -> tf.Tensor:
    """The seed [2] of a step's random numbers; no two of (seed, stream, step) share one."""
    return tf.stack([seed * STREAMS + stream, step])


class Augment(BaseModel):
    """Random changes of training samples; all roles of a sample are moved alike.

    Attributes:
        shift: at most so far along each axis, as a fraction of the side.
        scale: at most so much larger or smaller, as a fraction; each axis its own.
        rotate: at most so many degrees (2D only).
        flip: axes (0 is the first of the grid) mirrored in half of the samples.
        gain: contrast is multiplied by exp(uniform(-gain, gain)).
        bias: brightness is moved by uniform(-bias, bias).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    shift: float = Field(default=0.0, ge=0, le=0.5)
    scale: float = Field(default=0.0, ge=0, le=0.5)
    rotate: float = Field(default=0.0, ge=0, le=180)
    flip: tuple[int, ...] = ()
    gain: float = Field(default=0.0, ge=0, le=1)
    bias: float = Field(default=0.0, ge=0, le=1)

    @property
    def active(self) -> bool:
        return self != Augment()

    @property
    def moves(self) -> bool:
        """Whether samples are moved, which is for 2D only."""
        return bool(self.shift or self.scale or self.rotate)

    def __call__(
        self, batch: Mapping[str, tf.Tensor], seed: tf.Tensor, labels: Container[str] = ()
    ) -> dict[str, tf.Tensor]:
        """Change {role: [n, *size, c]}; `seed` [2] decides everything.

        Roles that are `labels` are moved by nearest neighbours and keep their numbers.

        Raises:
            ValueError: volumes cannot be moved; they can be mirrored and change in intensity.
        """
        first = next(iter(batch.values()))
        shape = tuple(int(side or 0) for side in first.shape)
        count, rank = shape[0], len(shape) - 2
        if self.moves and rank != 2:
            raise ValueError(
                "augment: shift, scale and rotate are for 2D; volumes take flip, gain, bias"
            )

        def draw(stream: int, *shape: int) -> tf.Tensor:
            key = stream_key(seed[0], AUGMENTATION + stream, seed[1])
            return tf.random.stateless_uniform((count, *shape), key, -1.0, 1.0)

        result = {}
        transform = self._transform(draw, shape[1:3]) if self.moves else None
        mirrored = {axis: draw(10 + axis) > 0 for axis in self.flip}
        wide = (count,) + (1,) * (rank + 1)
        gain = tf.reshape(tf.exp(self.gain * draw(20)), wide)
        bias = tf.reshape(self.bias * draw(21), wide)
        for role, images in batch.items():
            if transform is not None:
                images = tf.raw_ops.ImageProjectiveTransformV3(
                    images=images,
                    transforms=transform,
                    output_shape=images.shape[1:3],
                    fill_value=0.0,
                    interpolation="NEAREST" if role in labels else "BILINEAR",
                    fill_mode="NEAREST",
                )
            for axis, chosen in mirrored.items():
                flipped = tf.reverse(images, [axis + 1])
                images = tf.where(tf.reshape(chosen, wide), flipped, images)
            if (self.gain or self.bias) and role not in labels:
                images = tf.clip_by_value(images * gain + bias, -1.0, 1.0)
            result[role] = images
        return result

    def _transform(self, draw: Any, size: tuple[int, ...]) -> tf.Tensor:
        """Output pixel to input pixel, about the centre, as ImageProjectiveTransform takes it."""
        angle = self.rotate * np.pi / 180 * draw(0)
        scale_y, scale_x = 1 + self.scale * draw(1), 1 + self.scale * draw(2)
        centre_y, centre_x = (size[0] - 1) / 2, (size[1] - 1) / 2
        a0, a1 = scale_x * tf.cos(angle), -scale_x * tf.sin(angle)
        b0, b1 = scale_y * tf.sin(angle), scale_y * tf.cos(angle)
        a2 = centre_x - a0 * centre_x - a1 * centre_y + self.shift * size[1] * draw(3)
        b2 = centre_y - b0 * centre_x - b1 * centre_y + self.shift * size[0] * draw(4)
        zero = tf.zeros_like(a0)
        return tf.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1)


def batches(
    arrays: Mapping[str, np.ndarray],
    noise: Mapping[str, Any],
    *,
    roles: Mapping[str, str],
    batch_size: int,
    updates: int,
    first_step: int,
    steps: int,
    seed: int,
    augment: Augment | None = None,
) -> tf.data.Dataset:
    """The batches of steps `first_step` to `steps`, as a tf.data.Dataset.

    An element is one step: a dict by role and noise, [batch_size, updates, ...] float32.
    Order, augmentation and noise are functions of (seed, step, place in the global batch), so a
    resumed run sees what an unbroken one would, whatever the number of replicas.

    Args:
        arrays: by role, [N, ...] (a memory map is read a batch at a time).
        noise: by name, `ganatomy.game.Noise`.
        roles: "joined" roles share one order, labels share that of their scans; every other role
            has its own.
        augment: random changes of the roles, or None.

    Raises:
        TableError: fewer samples than one batch.
    """
    for role, array in arrays.items():
        if len(array) < batch_size:
            raise TableError(
                f"{len(array)} samples of {role} are fewer than one batch of {batch_size}: "
                f"give more, or --set batch_size={len(array)}"
            )
    count = batch_size * updates
    labels = labels_of(roles)

    def order(size: int, stream: int, step):
        place = step * count + tf.range(count, dtype=tf.int64)
        epoch, within = place // size, place % size
        seeds = tf.stack(
            [tf.fill([count], tf.constant(v, tf.int64)) for v in (seed, stream)] + [epoch], axis=1
        )
        # The public index_shuffle takes one seed for all; here every place has its epoch's.
        return tf.raw_ops.RandomIndexShuffle(
            index=within,
            seed=tf.cast(seeds, tf.uint32),
            max_index=tf.constant(size - 1, tf.int64),
            rounds=4,
        )

    def gather(array: np.ndarray, index):
        sample = tf.numpy_function(
            lambda i: np.asarray(array[i], np.float32), [index], tf.float32, stateful=False
        )
        sample.set_shape((count, *array.shape[1:]))
        return sample

    @tf.autograph.experimental.do_not_convert
    def one_step(step):
        shared = None
        batch, places = {}, {}
        for number, (role, array) in enumerate(arrays.items()):
            if roles[role] == "joined":
                shared = order(len(array), 0, step) if shared is None else shared
                index = shared
            elif role in labels:
                index = places[labels[role]]
            else:
                index = order(len(array), number + 1, step)
            places[role] = index
            batch[role] = gather(array, index)
        named = list(enumerate(sorted(noise.items())))
        drawn = next(iter(arrays.values()))
        for number, (name, kind) in named:
            if kind.kind == "sample":
                batch[name] = gather(drawn, order(len(drawn), PARTNERS + number, step))
        if augment is not None and augment.active:
            batch = augment(batch, tf.stack([tf.constant(seed, tf.int64), step]), labels)
        for number, (name, kind) in named:
            if kind.kind == "sample":
                continue
            draw = {
                "normal": tf.random.stateless_normal,
                "uniform": tf.random.stateless_uniform,
            }[kind.kind]
            key = stream_key(tf.constant(seed, tf.int64), NOISE + number, step)
            batch[name] = draw((count, *kind.shape), key)
        return {
            name: tf.reshape(value, (batch_size, updates, *value.shape[1:]))
            for name, value in batch.items()
        }

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    options.deterministic = True
    return (
        tf.data.Dataset.range(first_step, steps)
        .map(one_step, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(4)
        .with_options(options)
    )
