"""The image pool: a critic also sees what the generators made some steps ago."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ganatomy.replicas import own_rows, whole_batch

Tensor = Any


class ImagePool(keras.layers.Layer):
    """Keeps images that were made, and hands back old ones in place of half of the new.

    Until the pool is full an image is kept and handed on. Then each, with even odds, is handed on,
    or takes the place of a kept one, which is handed on instead. One pool serves the whole batch,
    whatever the number of replicas; images come one after the other, so that a later one of a batch
    may bring back an earlier one. Its images are weights, saved with a checkpoint.

    Args:
        size: how many images are kept; 50 as published. 0 hands on what comes.
        shape: of an image, (*size, C).

    Reference: Shrivastava et al. 2017, section 2.3; Zhu et al. 2017, section 4.
    """

    def __init__(self, size: int, shape: tuple[int, ...], **kwargs: Any):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.size = size
        # Every replica computes the whole pool, from the whole batch.
        settings = {"initializer": "zeros", "trainable": False, "aggregation": "only_first_replica"}
        self.images = self.add_weight(name="images", shape=(size, *shape), **settings)
        self.count = self.add_weight(name="count", shape=(), dtype="int32", **settings)
        self.built = True

    def exchange(self, images: Tensor, draws: Tensor) -> Tensor:
        """What the critic sees in place of new images; call it once a step.

        Args:
            images: [B, *size, C], without gradients.
            draws: [B, 2], uniform on [0, 1): whether to exchange, and with which.

        Returns:
            [B, *size, C].
        """
        if not self.size:
            return images
        new, draws = whole_batch(images), whole_batch(draws)
        sizes: Any = ops.shape(new)
        many = sizes[0]
        place: Any = ops.arange(many, dtype="int32")
        kept: Tensor = ops.convert_to_tensor(self.count)
        fills = kept + place < self.size
        slot: Any = ops.where(fills, kept + place, ops.cast(draws[:, 1] * self.size, "int32"))
        enters: Any = ops.logical_or(fills, draws[:, 0] < 0.5)
        # The last image before each that entered the same slot: column j of row i.
        same = ops.logical_and(slot[:, None] == slot[None, :], enters[None, :])
        before = ops.logical_and(same, place[None, :] < place[:, None])
        last: Tensor = ops.max(ops.where(before, place[None, :], -1), axis=1)
        old = ops.where(
            _wide(last >= 0, new),
            ops.take(new, ops.maximum(last, 0), axis=0),
            ops.take(self.images, slot, axis=0),
        )
        handed = ops.where(_wide(ops.logical_and(enters, ops.logical_not(fills)), new), old, new)
        slots: Any = ops.arange(self.size, dtype="int32")
        here = ops.logical_and(slot[None, :] == slots[:, None], enters[None, :])
        newest: Tensor = ops.max(ops.where(here, place[None, :], -1), axis=1)
        entered = ops.take(new, ops.maximum(newest, 0), axis=0)
        self.images.assign(ops.where(_wide(newest >= 0, new), entered, self.images))
        self.count.assign(ops.minimum(kept + many, self.size))
        return own_rows(handed, images)


def _wide(chosen: Tensor, images: Tensor) -> Tensor:
    return ops.reshape(chosen, (-1,) + (1,) * (len(images.shape) - 1))
