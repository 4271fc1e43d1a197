"""What tensorflow-addons computes on fixed inputs, as references for the tests.

tensorflow-addons ended in May 2024 and does not import under Keras 3, so this runs in an
environment of its own (`make parity`): Python 3.11, tensorflow-cpu==2.15.1,
tensorflow-addons==0.23.0, numpy<2. It writes one small .npz a question; the tests of this project
compare its own layers with them and never import tensorflow-addons.
"""

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

SEED = 20240501
STEPS = 5


def normal(rng, *shape):
    return rng.standard_normal(shape).astype("float32")


def spectral_normalization(rng, layer, x, kernel):
    """Five training calls; the gradient is the one of the first call."""
    wrapper = tfa.layers.SpectralNormalization(layer)
    wrapper.build(x.shape)
    u = normal(rng, 1, kernel.shape[-1])
    wrapper.u.assign(u)
    layer.kernel.assign(kernel)
    bias = normal(rng, kernel.shape[-1])
    layer.bias.assign(bias)
    weight = normal(rng, *wrapper(x, training=False).shape)
    out = {"x": x, "kernel": kernel, "bias": bias, "u": u, "weight": weight}
    for step in range(1, STEPS + 1):
        with tf.GradientTape() as tape:
            y = wrapper(x, training=True)
            loss = tf.reduce_sum(y * weight)
        if step == 1:
            out["kernel_gradient"] = tape.gradient(loss, layer.kernel).numpy()
        if step in (1, STEPS):
            out[f"y_{step}"] = y.numpy()
            out[f"u_{step}"] = wrapper.u.numpy()
            out[f"kernel_{step}"] = layer.kernel.numpy()
    return out


def normalisation(rng, layer, x):
    """Forward, and the gradients to the input, the gain and the offset."""
    layer.build(x.shape)
    gamma, beta, weight = normal(rng, x.shape[-1]), normal(rng, x.shape[-1]), normal(rng, *x.shape)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    images = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(images)
        y = layer(images)
        loss = tf.reduce_sum(y * weight)
    gradients = tape.gradient(loss, [images, layer.gamma, layer.beta])
    names = ("x_gradient", "gamma_gradient", "beta_gradient")
    return {
        "x": x,
        "gamma": gamma,
        "beta": beta,
        "weight": weight,
        "epsilon": np.float32(layer.epsilon),
        "y": y.numpy(),
        **{name: value.numpy() for name, value in zip(names, gradients, strict=True)},
    }


def moving_average(rng, decay=0.9, learning_rate=0.1, steps=6):
    """average <- decay average + (1 - decay) w after every update; it starts at the first w."""
    variable = tf.Variable(normal(rng, 3, 2))
    gradients = normal(rng, steps, 3, 2)
    optimizer = tfa.optimizers.MovingAverage(
        tf.keras.optimizers.legacy.SGD(learning_rate), average_decay=decay
    )
    start, weights, averages = variable.numpy(), [], []
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
        weights.append(variable.numpy())
        averages.append(optimizer.get_slot(variable, "average").numpy())
    return {
        "start": start,
        "decay": np.float32(decay),
        "weights": np.stack(weights),
        "averages": np.stack(averages),
    }


def dense_image_warp(rng):
    """output[b, i, j] = image[b, i - flow[..., 0], j - flow[..., 1]], bilinear, clamped edges."""
    image = tf.constant(normal(rng, 2, 7, 9, 2))
    # Up to 4 pixels: some queries fall outside.
    flow = tf.constant(rng.uniform(-4, 4, (2, 7, 9, 2)).astype("float32"))
    weight = normal(rng, 2, 7, 9, 2)
    with tf.GradientTape() as tape:
        tape.watch([image, flow])
        y = tfa.image.dense_image_warp(image, flow)
        loss = tf.reduce_sum(y * weight)
    image_gradient, flow_gradient = tape.gradient(loss, [image, flow])
    return {
        "image": image.numpy(),
        "flow": flow.numpy(),
        "weight": weight,
        "y": y.numpy(),
        "image_gradient": image_gradient.numpy(),
        "flow_gradient": flow_gradient.numpy(),
    }


def references():
    rng = np.random.default_rng(SEED)
    layers = tf.keras.layers
    yield (
        "spectral_norm_dense",
        spectral_normalization(rng, layers.Dense(4), normal(rng, 3, 6), normal(rng, 6, 4)),
    )
    yield (
        "spectral_norm_conv2d",
        spectral_normalization(
            rng,
            layers.Conv2D(5, 3, strides=2, padding="same"),
            normal(rng, 2, 6, 6, 3),
            normal(rng, 3, 3, 3, 5),
        ),
    )
    yield (
        "spectral_norm_conv3d",
        spectral_normalization(
            rng,
            layers.Conv3D(3, 3, padding="same"),
            normal(rng, 1, 4, 4, 4, 2),
            normal(rng, 3, 3, 3, 2, 3),
        ),
    )
    yield (
        "instance_norm",
        normalisation(rng, tfa.layers.InstanceNormalization(), 2 + 3 * normal(rng, 2, 5, 6, 4)),
    )
    yield (
        "group_norm",
        normalisation(rng, tfa.layers.GroupNormalization(groups=2), 2 + normal(rng, 2, 5, 6, 4)),
    )
    yield (
        "layer_norm",
        normalisation(rng, tfa.layers.GroupNormalization(groups=1), 2 + normal(rng, 2, 5, 6, 4)),
    )
    yield "moving_average", moving_average(rng)
    yield "dense_image_warp", dense_image_warp(rng)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("tests/data/parity"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    versions = np.array(
        [f"tensorflow {tf.__version__}", f"tensorflow-addons {tfa.__version__}"], dtype=str
    )
    for name, arrays in references():
        np.savez_compressed(out / f"{name}.npz", versions=versions, **arrays)
        print(f"{name}: {', '.join(arrays)}")


if __name__ == "__main__":
    main()
