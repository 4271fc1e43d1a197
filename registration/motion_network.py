"""The generator of AIR-net: from a pair to the parameters of the motion between them."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ganatomy.layers import StridedConv3D
from ganatomy.networks.blocks import normalise, of_rank
from registration.matrices import RIGID

_RIDGE = 1e-2  # of the mean diagonal: keeps a fit where hardly any place counts


class FitMotion(layers.Layer):
    """Rigid or affine parameters that fit vectors at nodes best, weighted least squares.

    The rotation is linear in its angles here, which holds for the small ones of a residual; what is
    off for larger ones the network in front learns to make up for.

    Args:
        nodes: [K, rank], mm about the centre of rotation.
        count: of parameters, rigid or affine.

    Call arguments: vectors [B, K, rank] in mm and counts [B, K], not negative.

    Returns:
        [B, count], as `rigid_matrix` or `affine_matrix` takes them.
    """

    def __init__(self, nodes: Any, count: int, **settings: Any):
        super().__init__(**{**settings, "dtype": "float32"})
        self.nodes, self.count = np.asarray(nodes, np.float32), count
        rank = self.nodes.shape[-1]
        # Columns of one size: an entry of a matrix moves a node by its distance from the centre.
        self.reach = max(float(np.abs(self.nodes).max()), 1e-6)
        unit = self.nodes / self.reach
        columns = []
        if count == RIGID[rank]:
            for a, b in ((0, 1),) if rank == 2 else ((1, 2), (2, 0), (0, 1)):
                column = np.zeros_like(unit)
                column[:, a], column[:, b] = -unit[:, b], unit[:, a]
                columns.append(column)
        else:
            for row in range(rank):
                for axis in range(rank):
                    column = np.zeros_like(unit)
                    column[:, row] = unit[:, axis]
                    columns.append(column)
        columns += [np.tile(np.eye(rank, dtype=np.float32)[a], (len(unit), 1)) for a in range(rank)]
        self.design = np.stack(columns, axis=-1).astype(np.float32)  # [K, rank, count]
        units = [1 / self.reach] * (count - rank) + [1.0] * rank
        self.units = np.array(units, np.float32)

    def call(self, vectors: Any, counts: Any) -> Any:
        counts = counts / ops.sum(counts, axis=1, keepdims=True)
        nodes, rank = self.nodes.shape
        products = np.einsum("kri,krj->kij", self.design, self.design).reshape(nodes, -1)
        normal: Any = ops.reshape(ops.matmul(counts, products), [-1, self.count, self.count])
        ridge = _RIDGE / self.count * np.eye(self.count, dtype=np.float32)
        weighed = ops.reshape(counts[..., None] * vectors, [-1, nodes * rank])
        side: Any = ops.matmul(weighed, self.design.reshape(nodes * rank, self.count))
        found: Any = ops.solve(normal + ridge, side[..., None])
        return found[..., 0] * self.units

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "nodes": self.nodes.tolist(), "count": self.count}


def motion_network(
    shape: tuple[int, ...],
    grid: np.ndarray,
    count: int,
    width: int = 16,
    name: str = "generator",
) -> keras.Model:
    """Pairs to the parameters of the residual motion.

    Convolutions to a quarter of the grid, which say of each place how far what is seen there has
    moved and how much that is to count; parameters are fitted to that. One place that is certain
    about nothing harms little, which serves small training sets better than a dense layer over all
    places. The vectors begin near 0, and so do the parameters.

    Args:
        shape: of one image, (*grid, channels), sides of any length from 4.
        grid: [rank + 1, rank + 1], voxel to mm about the centre of rotation.
        count: of parameters, see `rigid_matrix` and `affine_matrix`.
        width: channels of the first convolution; they double when the grid halves.

    Returns:
        pairs [B, *grid, 2 C] -> {"parameters": [B, count], "vectors": [B, K, rank] in mm,
        "counts": [B, K]}, float32; `nodes_of` says where the vectors are.
    """
    *sides, channels = shape
    rank = len(sides)
    pair: Any = keras.Input((*sides, 2 * channels), name="pair")
    x = _conv(rank, width, 2, kernel_initializer="he_normal", name="in")(pair)
    x = layers.LeakyReLU(negative_slope=0.1, name="in_out")(x)
    plan = [(1, 2), (2, 4), (1, 4), (1, 4), (1, 4)]
    for i, (stride, times) in enumerate(plan, 1):
        x = _conv(
            rank,
            width * times,
            stride,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"block_{i}",
        )(x)
        x = normalise(x, "instance", f"block_{i}_norm")
        x = layers.LeakyReLU(negative_slope=0.1, name=f"block_{i}_out")(x)
    places = tuple(x.shape[1:-1])
    small = keras.initializers.RandomNormal(stddev=1e-3)
    said = of_rank("Conv", rank)(
        rank + 1, 1, kernel_initializer=small, dtype="float32", name="said"
    )(x)
    said = layers.Reshape((int(np.prod(places)), rank + 1), name="flat")(said)
    vectors: Any = 10.0 * said[..., :rank]  # an output of 1 is a centimetre
    counts: Any = ops.softplus(said[..., rank])
    counts = counts + 1e-3  # or nothing might count
    index = np.moveaxis(np.indices(places), 0, -1).reshape(-1, rank)
    # With padding "same", place i of a quarter looks at about voxel 4 i + 1.5 of a whole side.
    spread = np.array([side / place for side, place in zip(sides, places, strict=True)])
    index = (index + 0.5) * spread - 0.5
    nodes = (index @ grid[:-1, :-1].T + grid[:-1, -1]).astype(np.float32)
    parameters = FitMotion(nodes, count, name="parameters")(vectors, counts)
    outputs = {"parameters": parameters, "vectors": vectors, "counts": counts}
    return keras.Model(pair, outputs, name=name)


def _conv(rank: int, filters: int, stride: int, **settings: Any) -> Any:
    """A convolution of kernel 3 and padding "same"."""
    if rank == 3 and stride == 2:
        return StridedConv3D(filters, **settings)
    return of_rank("Conv", rank)(filters, 3, strides=stride, padding="same", **settings)


def nodes_of(network: keras.Model) -> np.ndarray:
    """Where the vectors of a motion network are, [K, rank], mm."""
    layer: Any = network.get_layer("parameters")
    return layer.nodes
