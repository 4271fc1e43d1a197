"""Where a graph's time goes: by kind of operation, and the matrix products that it is made of."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

KINDS = ("convolutions", "matrix products", "elementwise and sums", "moving data")
NOTHING = "no operation"
# Calls that hold other operations, and the executor's own.
AROUND = {"PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "NoOp"}
MOVING = re.compile(
    r"Reshape|Transpose$|Pad|Concat|Pack$|Slice|Split|Gather|Tile|Resize|Identity|Cast$|Const|"
    r"ReadVariable|_Arg|_Retval|Fill|ZerosLike|OnesLike|Shape|ExpandDims|Squeeze|Broadcast|ToTf|"
    r"Enter|Exit|Merge|Switch|NextIteration|LoopCond|TensorList|Where$"
)


class Event(NamedTuple):
    """An operation that ran: its type, begin and end in seconds."""

    type: str
    begin: float
    end: float


class Product(NamedTuple):
    """[rows, inner] · [inner, columns], so many times; a convolution is one over its windows."""

    rows: int
    inner: int
    columns: int
    times: int

    @property
    def operations(self) -> float:
        """Multiplications and additions."""
        return 2.0 * self.rows * self.inner * self.columns * self.times

    @property
    def thinnest(self) -> int:
        """The shortest of its three sides."""
        return min(self.rows, self.inner, self.columns)


def events(call: Callable[[], Any]) -> list[Event]:
    """The operations that run on the processor while `call` does, by TensorFlow's profiler."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    profiler = tf.profiler.experimental
    options = profiler.ProfilerOptions(
        host_tracer_level=3, python_tracer_level=0, device_tracer_level=0
    )
    with tempfile.TemporaryDirectory() as folder:
        profiler.start(folder, options=options)
        call()
        profiler.stop()
        [file] = Path(folder).rglob("*.xplane.pb")
        space: Any = xplane_pb2.XSpace()  # pyright: ignore[reportAttributeAccessIssue]
        space.ParseFromString(file.read_bytes())
    found = []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                match = re.fullmatch(r"[^:]+:(\w+)", name)
                if match and match[1] not in AROUND and not name.startswith("EagerLocalExecute"):
                    begin = line.timestamp_ns / 1e9 + event.offset_ps / 1e12
                    found.append(Event(match[1], begin, begin + event.duration_ps / 1e12))
    return found


def kind(type: str) -> str:
    """Which of `KINDS` an operation is; those of oneDNN are called like TensorFlow's own."""
    if re.search(r"Conv\dD", type):
        return KINDS[0]
    if "MatMul" in type:
        return KINDS[1]
    return KINDS[3] if MOVING.search(type) else KINDS[2]


def shares(found: Sequence[Event], wall: float) -> dict[str, float]:
    """Shares of a wall time by kind, and of `NOTHING`; together 1.

    Operations that run beside each other share the time in which any does.
    """
    spent: dict[str, float] = {name: 0.0 for name in KINDS}
    busy, last = 0.0, -np.inf
    for event in sorted(found, key=lambda one: one.begin):
        spent[kind(event.type)] += event.end - event.begin
        busy += max(event.end - max(event.begin, last), 0.0)
        last = max(last, event.end)
    busy = min(busy, wall)
    total = sum(spent.values()) or 1.0
    by_kind = {name: own / total * busy / wall for name, own in spent.items()}
    return {**by_kind, NOTHING: 1 - busy / wall}


def products(graph: Any, times: int = 1) -> Iterator[Product]:
    """The matrix products of a graph of known shapes, those of convolutions among them.

    Args:
        graph: before it is optimised; bodies of loops are graphs of their own.
        times: how often it runs.
    """
    for operation in graph.get_operations():
        sides = _sides(operation)
        if sides is not None:
            yield Product(*sides, times)


def _sides(operation: Any) -> tuple[int, int, int] | None:
    def shape(tensor: Any) -> list[int]:
        return [int(side) for side in tensor.shape]

    type, inputs = operation.type, operation.inputs
    if type in ("Conv2D", "Conv3D"):
        *window, inner, columns = shape(inputs[1])
        return int(np.prod(shape(operation.outputs[0])[:-1])), int(np.prod(window)) * inner, columns
    if type.endswith(("BackpropInput", "BackpropInputV2")) and type.startswith("Conv"):
        # A transposed convolution: every place of the small grid is spread over its window.
        *window, outer, inner = shape(inputs[1])
        return int(np.prod(shape(inputs[2])[:-1])), inner, int(np.prod(window)) * outer
    if "MatMul" in type:
        a, b = shape(inputs[0]), shape(operation.outputs[0])
        turned = operation.get_attr("adj_x" if "Batch" in type else "transpose_a")
        return int(np.prod(b[:-1])), a[-2] if turned else a[-1], b[-1]
    return None


def bare(found: Sequence[Product], repeats: int) -> float:
    """Operations a second of plain matrix products of the same sizes, one after another.

    Of the sizes that make up 95 % of the operations, each by its best of `repeats`.
    """
    import tensorflow as tf

    from benchmarks.harness import repeated

    sizes: dict[tuple[int, int, int], float] = {}
    for one in found:
        key = (one.rows, one.inner, one.columns)
        sizes[key] = sizes.get(key, 0.0) + one.operations
    enough, work, seconds = 0.95 * sum(sizes.values()), 0.0, 0.0
    for (rows, inner, columns), operations in sorted(sizes.items(), key=lambda item: -item[1]):
        if work >= enough:
            break
        a, b = tf.random.normal((rows, inner)), tf.random.normal((inner, columns))
        product = tf.function(lambda a=a, b=b: tf.matmul(a, b))
        once = min(repeated(lambda product=product: void(product()), repeats, warmup=2))
        work += operations
        seconds += once * operations / (2.0 * rows * inner * columns)
    return work / seconds


def void(tensor: Any) -> None:
    """Wait for a tensor."""
    tensor.numpy()


def thinnest(found: Sequence[Product]) -> int:
    """The thinnest side that half of the operations do not exceed."""
    ordered = sorted(found, key=lambda one: one.thinnest)
    passed = np.cumsum([one.operations for one in ordered])
    return ordered[int(np.searchsorted(passed, passed[-1] / 2))].thinnest
