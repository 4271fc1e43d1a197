"""The whole batch, on every replica: for what a game keeps of all samples."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any


def whole_batch(values: Tensor) -> Tensor:
    """Every replica's values one after the other, in the order of the global batch.

    Call it inside a training step, on every replica. A sum of padded parts: tf.distribute's own
    gathering does not work between workers.

    Args:
        values: [b, ...] on each replica, of equal shapes.

    Returns:
        [replicas · b, ...], the same everywhere.
    """
    context: Any = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync
    if count == 1:
        return values
    place, own = context.replica_id_in_sync_group, tf.shape(values)[0]
    rest = [[0, 0]] * (len(values.shape) - 1)
    padded = tf.pad(values, [[place * own, (count - 1 - place) * own], *rest])
    return context.all_reduce("SUM", padded)


def own_rows(values: Tensor, like: Tensor) -> Tensor:
    """The rows of a whole batch that are this replica's.

    Args:
        values: [replicas · b, ...].
        like: [b, ...].
    """
    context: Any = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    own = tf.shape(like)[0]
    begin = context.replica_id_in_sync_group * own
    return values[begin : begin + own]
