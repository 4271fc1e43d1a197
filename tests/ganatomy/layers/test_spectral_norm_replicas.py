"""Spectral normalisation on two replicas: one u, and the weights of a single replica."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

BATCH, STEPS = 8, 4


def train(replicas):
    """Weights after a few hinge steps, and how far apart the replicas' copies are."""
    import keras
    import tensorflow as tf

    from ganatomy.networks import dcgan_critic
    from ganatomy.objectives import objective

    if not tf.config.list_logical_devices("CPU")[1:]:
        raise RuntimeError("two logical CPUs were not set up")
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    real, fake = np.random.default_rng(0).normal(size=(2, BATCH, 16, 16, 1)).astype("float32")
    with strategy.scope():
        keras.utils.set_random_seed(3)
        critic = dcgan_critic((16, 16, 1), 4, norm=None, spectral=True)
        optimizer = keras.optimizers.Adam(1e-2)
        optimizer.build(critic.trainable_variables)

    def step(real, fake):
        with tf.GradientTape() as tape:
            logits = [critic(images, training=True)["logit"] for images in (real, fake)]
            loss = tf.reduce_sum(objective("hinge").critic(*logits)) / BATCH
        variables = critic.trainable_variables
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)

    share = BATCH // replicas

    def shares(images):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(images[context.replica_id_in_sync_group * share :][:share])
        )

    run = tf.function(lambda real, fake: strategy.run(step, (real, fake)))
    for _ in range(STEPS):
        run(shares(real), shares(fake))
    copies = [
        [local.numpy() for local in strategy.experimental_local_results(v.value)]
        for v in critic.variables
    ]
    apart = max(np.abs(local[0] - local[-1]).max() for local in copies)
    return [local[0] for local in copies], apart


def one_and_two():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, logical)
    return train(1), train(2)


@pytest.mark.distributed
def test_two_replicas_equal_one():
    # Logical devices have to be set before TensorFlow starts: a process of its own.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        (one, _), (two, apart) = pool.submit(one_and_two).result()
    assert apart == 0.0
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
