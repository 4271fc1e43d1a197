"""Generators, critics and encoders: shapes, precision, and what training relies on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ganatomy.networks import (
    dcgan_critic,
    dcgan_generator,
    encoder,
    residual_critic,
    residual_generator,
)
from ganatomy.networks.grid import pyramid
from ganatomy.objectives import gradient_penalty

FAMILIES = {
    "dcgan": (dcgan_generator, dcgan_critic),
    "residual": (residual_generator, residual_critic),
}
SHAPES = [
    (32, 32, 1),
    (64, 64, 2),
    (128, 128, 3),
    (256, 256, 4),
    (28, 28, 1),
    (64, 96, 1),
    (32, 32, 32, 1),
    (32, 48, 64, 2),
    (64, 64, 64, 1),
    (32, 32, 48, 4),
]
CRITICS = {
    "dcgan, batch": lambda shape: dcgan_critic(shape, 4, norm="batch"),
    "dcgan, none": lambda shape: dcgan_critic(shape, 4, norm=None),
    "dcgan, layer": lambda shape: dcgan_critic(shape, 4, norm="layer"),
    "dcgan, spectral": lambda shape: dcgan_critic(shape, 4, norm=None, spectral=True),
    "residual, layer": lambda shape: residual_critic(shape, 4),
    "residual, none": lambda shape: residual_critic(shape, 4, norm=None),
    "residual, instance": lambda shape: residual_critic(shape, 4, norm="instance"),
    "residual, spectral": lambda shape: residual_critic(shape, 4, norm=None, spectral=True),
}
APART = [name for name in CRITICS if "batch" not in name]


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(11)


def images(shape, batch=2):
    return np.random.default_rng(0).normal(size=(batch, *shape)).astype("float32")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_latent_vector_goes_to_an_image_and_back(family, shape):
    width = 1 if len(shape) == 4 else 2
    make_generator, make_critic = FAMILIES[family]
    z = images((6,), batch=1)
    generated = make_generator(shape, 6, width)(z)
    assert generated.shape == (1, *shape)
    assert np.abs(generated).max() <= 1.0
    judged = make_critic(shape, width)(generated)
    assert judged["logit"].shape == (1,)
    assert judged["features"].shape[0] == 1
    assert encoder(shape, 6, family, width)(generated).shape == (1, 6)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((64, 64, 1), (4, (4, 4))),
        ((64, 96, 1), (4, (4, 6))),
        ((32, 64, 128, 2), (3, (4, 8, 16))),
        ((28, 28, 1), (2, (7, 7))),
        ((160, 160, 1), (5, (5, 5))),
        ((8, 8, 8, 1), (1, (4, 4, 4))),
    ],
)
def test_the_pyramid_follows_from_the_shape(shape, expected):
    assert pyramid(shape) == expected


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((64, 72, 1), r"multiple of 16 .* Pad or resize, for example to \(64, 80\)"),
        ((33, 33, 1), r"multiple of 8"),
        ((32, 32, 22, 1), r"multiple of 4"),
        ((4, 64, 1), "8 or more"),
        ((64, 64), "in whole numbers"),
        ((64, None, 1), "in whole numbers"),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_shape_that_does_not_halve_is_refused(family, shape, message):
    make_generator, make_critic = FAMILIES[family]
    with pytest.raises(ValueError, match=message):
        make_generator(shape, 4, 2)
    with pytest.raises(ValueError, match=message):
        make_critic(shape, 2)
    with pytest.raises(ValueError, match=message):
        encoder(shape, 4, family, 2)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="'grup'"):
        dcgan_generator((32, 32, 1), 4, 2, norm="grup")
    with pytest.raises(ValueError, match="block from 1 to 3"):
        dcgan_critic((32, 32, 1), 2, features=4)
    with pytest.raises(ValueError, match="name of a layer, not 'block_9_out'"):
        dcgan_critic((32, 32, 1), 2, features="block_9_out")
    with pytest.raises(ValueError, match="'unet'"):
        encoder((32, 32, 1), 4, "unet")


def networks_with_biases():
    shape = (32, 32, 1)
    for norm in ("batch", "instance", "layer"):
        yield f"dcgan_generator {norm}", lambda norm=norm: dcgan_generator(shape, 5, 4, norm)
        yield f"residual_generator {norm}", lambda norm=norm: residual_generator(shape, 5, 4, norm)
        yield f"dcgan_critic {norm}", lambda norm=norm: dcgan_critic(shape, 4, norm)
        yield f"dcgan encoder {norm}", lambda norm=norm: encoder(shape, 5, "dcgan", 4, norm)
        yield f"residual encoder {norm}", lambda norm=norm: encoder(shape, 5, "residual", 4, norm)
    yield "residual_critic layer", lambda: residual_critic(shape, 4)


@pytest.mark.parametrize(
    "make", dict(networks_with_biases()).values(), ids=dict(networks_with_biases())
)
def test_no_bias_is_removed_by_a_normalisation(make):
    """The gradient of a bias before a normalisation is rounding alone, which Adam blows up."""
    network = make()
    x = images(network.input_shape[1:], batch=4)
    with tf.GradientTape() as tape:
        out = network(x, training=True)
        out = out["logit"] if isinstance(out, dict) else out
        weight = np.random.default_rng(1).normal(size=out.shape).astype("float32")
        loss = tf.reduce_sum(out * weight)
    variables = network.trainable_variables
    sizes = [float(tf.norm(g)) for g in tape.gradient(loss, [v.value for v in variables])]
    biases = {v.path: s for v, s in zip(variables, sizes, strict=True) if v.name == "bias"}
    assert biases
    assert min(biases.values()) > 1e-3 * np.median(sizes), biases


@pytest.mark.parametrize("name", CRITICS)
@pytest.mark.parametrize("shape", [(16, 16, 2), (8, 8, 8, 4)], ids=str)
def test_second_derivatives_are_finite_through_every_critic(name, shape):
    critic = CRITICS[name](shape)
    real, fake = images(shape), 0.5 * images(shape)[::-1]

    with tf.GradientTape() as tape:
        penalty = gradient_penalty(
            lambda x: critic(x, training=True)["logit"], real, fake, [0.3, 0.8]
        )
        loss = tf.reduce_sum(penalty)
    variables = [v.value for v in critic.trainable_variables]
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    assert np.isfinite(penalty).all()
    for variable, gradient in zip(critic.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all(), variable.path
        if variable.name == "kernel":
            assert np.abs(gradient).max() > 0, variable.path


@pytest.mark.parametrize("name", APART)
def test_critics_for_a_penalty_treat_samples_apart(name):
    critic = CRITICS[name]((16, 16, 1))
    x = images((16, 16, 1), batch=3)
    together = critic(x, training=True)["logit"]
    # A training call moves the u of spectral normalisation; without it the two would be equal.
    together = critic(x, training=False)["logit"] if "spectral" in name else together
    training = "spectral" not in name
    alone = [critic(x[i : i + 1], training=training)["logit"][0] for i in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_channel_of_a_volume_is_seen_and_made(family):
    shape, places = (16, 16, 16, 4), (0, 1, 2, 3)
    make_generator, make_critic = FAMILIES[family]
    x = images(shape, batch=1)
    for network in (make_critic(shape, 2), encoder(shape, 4, family, 2)):
        outputs = [network(np.where(np.arange(4) == place, 0, x)) for place in places]
        outputs = [out["logit"] if isinstance(out, dict) else out for out in [network(x), *outputs]]
        assert len({np.asarray(out).tobytes() for out in outputs}) == 5
    made = np.asarray(make_generator(shape, 4, 2)(images((4,), batch=1)))
    assert len({made[..., place].tobytes() for place in places}) == 4
    assert made.std(axis=(0, 1, 2, 3)).min() > 0


def test_features_are_the_named_activations():
    x = images((32, 32, 1))
    for make in (dcgan_critic, residual_critic):
        critic = make((32, 32, 1), 4)
        out = critic(x)
        dense = critic.get_layer("dense")
        np.testing.assert_allclose(dense(out["features"])[:, 0], out["logit"], rtol=1e-5, atol=1e-6)
        first = make((32, 32, 1), 4, features=1)(x)["features"]
        assert first.shape[1:-1] == (16, 16)
        third = make((32, 32, 1), 4, features=3)(x)["features"]
        assert third.shape[1:-1] == (4, 4)


@pytest.mark.parametrize(
    ("make", "block"), [(dcgan_critic, "block_{}_out"), (residual_critic, "block_{}")]
)
@pytest.mark.parametrize("shape", [(16, 16, 1), (8, 8, 8, 2)])
def test_a_layer_is_named_as_well_as_numbered(make, block, shape):
    x = images(shape)

    def features(which):
        keras.utils.set_random_seed(0)
        return make(shape, 4, features=which)(x)["features"].numpy()

    number = 2 if shape[0] == 16 else 1
    np.testing.assert_array_equal(features(block.format(number)), features(number))
    np.testing.assert_array_equal(features("flat"), features("last"))


def trainable(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def test_published_f_anogan_has_its_weights():
    """64×64, one channel, width 64, z of 128 (Schlegl et al. 2019; Gulrajani et al. 2017)."""
    generator, critic = residual_generator((64, 64, 1), 128), residual_critic((64, 64, 1))
    # The published blocks have two biases each that batch normalisation removes: 2 (8+4+2+1) 64.
    inert = 2 * (512 + 256 + 128 + 64)
    linear = 128 * 8192 + 8192
    blocks = [(512, 512), (512, 256), (256, 128), (128, 64)]
    published = linear + sum(
        a * b + b + 9 * a * b + 9 * b * b + b + 2 * a + 2 * b for a, b in blocks
    )
    published += 2 * 64 + 9 * 64 + 1
    assert published == 8_539_329
    assert trainable(generator) == published - inert

    blocks = [(64, 128), (128, 256), (256, 512), (512, 512)]
    published = 9 * 64 + 64 + sum(a * b + b + 9 * a * a + 9 * a * b + b + 4 * a for a, b in blocks)
    published += 8192 + 1
    assert published == 7_490_689
    assert trainable(critic) == published
    assert critic.get_layer("features").output.shape == (None, 8192)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_builds_the_same_weights(family):
    sizes = [(4, 2), (2,)]

    def build(seed):
        keras.utils.set_random_seed(seed)
        return [
            make((16, 16, 1), *size) for make, size in zip(FAMILIES[family], sizes, strict=True)
        ]

    for one, same, other in zip(build(1), build(1), build(2), strict=True):
        for a, b in zip(one.get_weights(), same.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        pairs = zip(one.get_weights(), other.get_weights(), strict=True)
        assert any((a != c).any() for a, c in pairs)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_start_as_published(family):
    if family == "residual":
        kernel = residual_critic((32, 32, 1), 16).get_layer("block_2_conv_1").kernel.numpy()
        fan = 9 * kernel.shape[-1]
        assert kernel.var() == pytest.approx(4 / (2 * fan), rel=0.05)
        assert np.abs(kernel).max() <= np.sqrt(3 * 4 / (2 * fan))
    else:
        kernel = dcgan_critic((32, 32, 1), 16).get_layer("block_2").kernel.numpy()
        assert kernel.std() == pytest.approx(0.02, rel=0.05)


def all_networks(shape=(16, 16, 1)):
    return {
        "dcgan_generator": dcgan_generator(shape, 4, 2),
        "residual_generator": residual_generator(shape, 4, 2),
        "dcgan_encoder": encoder(shape, 4, "dcgan", 2),
        "residual_encoder": encoder(shape, 4, "residual", 2),
        **{name: make(shape) for name, make in CRITICS.items()},
    }


def test_weights_and_models_come_back_from_a_file(tmp_path):
    ones, twos = all_networks(), all_networks()
    for number, (name, one) in enumerate(ones.items()):
        x = images(one.input_shape[1:])
        one(x, training=True)  # moves the statistics and the u that have to be saved
        one.save_weights(tmp_path / f"{number}.weights.h5")
        twos[name].load_weights(tmp_path / f"{number}.weights.h5")
        one.save(tmp_path / f"{number}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{number}.keras")
        expected = keras.tree.flatten(one(x))
        for again in (twos[name], loaded):
            for a, b in zip(expected, keras.tree.flatten(again(x)), strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.fixture
def _bfloat16():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("_bfloat16")
def test_outputs_are_float32_under_mixed_precision():
    for name, network in all_networks().items():
        x = images(network.input_shape[1:])
        outputs = keras.tree.flatten(network(x, training=True))
        assert {value.dtype for value in outputs} == {tf.float32}, name
        assert all(np.isfinite(value).all() for value in outputs), name
        computed = {layer.compute_dtype for layer in network.layers}
        assert "bfloat16" in computed, name
    for name in APART:
        critic = CRITICS[name]((16, 16, 1))
        with tf.GradientTape() as tape:
            penalty = tf.reduce_sum(
                gradient_penalty(
                    lambda x, critic=critic: critic(x, training=True)["logit"],
                    images((16, 16, 1)),
                    0.5 * images((16, 16, 1)),
                    [0.3, 0.8],
                )
            )
        variables = [v.value for v in critic.trainable_variables]
        for gradient in tape.gradient(penalty, variables, unconnected_gradients="zero"):
            assert gradient.dtype == tf.float32
            assert np.isfinite(gradient).all(), name


def test_the_spectral_critic_is_lipschitz_layer_by_layer():
    critic = dcgan_critic((16, 16, 1), 4, norm=None, spectral=True)
    x = images((16, 16, 1))
    for _ in range(20):
        critic(x, training=True)
    wrapped = [layer for layer in critic.layers if hasattr(layer, "normalised_kernel")]
    assert len(wrapped) == 3
    for layer in wrapped:
        kernel = layer.normalised_kernel()[0].numpy()
        assert np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2) == pytest.approx(1, rel=0.05)
