"""Where a graph's time goes, on graphs and times made by hand."""

import pytest

from benchmarks.profiled import Event, Product, events, kind, products, shares, thinnest


def test_operations_are_of_a_kind_whatever_they_are_fused_with():
    kinds = {
        "convolutions": ("Conv2D", "_MklNativeFusedConv2D", "Conv3DBackpropInputV2"),
        "matrix products": ("MatMul", "_FusedMatMul", "BatchMatMulV2"),
        "elementwise and sums": ("AddV2", "LeakyRelu", "Mean", "SquaredDifference", "TopKV2"),
        "moving data": ("Reshape", "ConcatV2", "StridedSlice", "Identity", "ReadVariableOp"),
    }
    for name, types in kinds.items():
        assert {kind(type) for type in types} == {name}


def test_shares_add_up_and_what_runs_side_by_side_shares_the_time():
    found = [Event("Conv2D", 0, 4), Event("AddV2", 2, 6), Event("Reshape", 8, 9)]
    # 7 of 10 seconds are busy, with 9 seconds of work in them.
    told = shares(found, 10)
    assert told["convolutions"] == pytest.approx(4 / 9 * 0.7)
    assert told["moving data"] == pytest.approx(1 / 9 * 0.7)
    assert told["no operation"] == pytest.approx(0.3)
    assert sum(told.values()) == pytest.approx(1)


def test_half_of_the_operations_lie_in_products_no_thicker():
    thin, thick = Product(1000, 90, 1, 1), Product(1000, 90, 100, 1)
    assert thinnest([thick, thin]) == 90
    assert thinnest([thick, thin._replace(times=200)]) == 1


def test_products_of_a_graph_and_what_ran_of_it():
    import tensorflow as tf

    x = tf.random.normal((2, 8, 8, 3))
    narrow, wide = tf.random.normal((3, 3, 3, 5)), tf.random.normal((4, 4, 2, 5))

    @tf.function
    def graph(x):
        small = tf.nn.conv2d(x, narrow, 2, "SAME")
        large = tf.nn.conv2d_transpose(small, wide, tf.constant((2, 8, 8, 2)), 2)
        flat = tf.reshape(large, (2, 128))
        return tf.matmul(flat, flat, transpose_a=True)

    made = list(products(graph.get_concrete_function(x).graph, 3))
    assert made == [Product(32, 27, 5, 3), Product(32, 5, 32, 3), Product(128, 2, 128, 3)]
    assert made[0].operations == 2 * 32 * 27 * 5 * 3
    ran = events(lambda: graph(x))
    assert {"convolutions", "matrix products"} <= {kind(event.type) for event in ran}
    assert all(event.end >= event.begin for event in ran)
