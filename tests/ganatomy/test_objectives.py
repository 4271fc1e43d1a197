"""The objectives at values worked out by hand, and at optima known in closed form."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ganatomy.objectives import OBJECTIVES, clip_weights, gradient_penalty, objective

REAL = np.array([0.5, -2.0], "float32")
FAKE = np.array([1.5, -0.25], "float32")

P = np.array([0.5, 0.3, 0.2, 0.0])
Q = np.array([0.1, 0.3, 0.2, 0.4])


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def test_saturating_by_hand():
    chosen = objective("saturating")
    np.testing.assert_allclose(
        chosen.critic(REAL, FAKE), -np.log(sigmoid(REAL)) - np.log(1 - sigmoid(FAKE)), rtol=1e-6
    )
    np.testing.assert_allclose(chosen.generator(FAKE), np.log(1 - sigmoid(FAKE)), rtol=1e-6)


def test_nonsaturating_by_hand():
    chosen = objective("nonsaturating")
    np.testing.assert_allclose(
        chosen.critic(REAL, FAKE), -np.log(sigmoid(REAL)) - np.log(1 - sigmoid(FAKE)), rtol=1e-6
    )
    np.testing.assert_allclose(chosen.generator(FAKE), -np.log(sigmoid(FAKE)), rtol=1e-6)


def test_least_squares_by_hand():
    chosen = objective("least_squares")
    # 1/2 (0.5 - 1)² + 1/2 1.5² = 1.25; 1/2 (-2 - 1)² + 1/2 0.25² = 4.53125
    np.testing.assert_allclose(chosen.critic(REAL, FAKE), [1.25, 4.53125])
    np.testing.assert_allclose(chosen.generator(FAKE), [0.125, 0.78125])
    labelled = objective("least_squares", a=-1.0, b=1.0, c=0.0)
    np.testing.assert_allclose(labelled.critic(REAL, FAKE), [3.25, 4.78125])
    np.testing.assert_allclose(labelled.generator(FAKE), [1.125, 0.03125])


def test_hinge_by_hand():
    chosen = objective("hinge")
    np.testing.assert_allclose(chosen.critic(REAL, FAKE), [0.5 + 2.5, 3.0 + 0.75])
    np.testing.assert_allclose(chosen.generator(FAKE), [-1.5, 0.25])


def test_wasserstein_by_hand():
    chosen = objective("wasserstein")
    np.testing.assert_allclose(chosen.critic(REAL, FAKE), [1.0, 1.75])
    np.testing.assert_allclose(chosen.generator(FAKE), [-1.5, 0.25])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_patches_are_averaged_to_one_value_a_sample(name):
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 3, 4, 5, 1)).astype("float32")
    chosen = objective(name)
    critic, generator = chosen.critic(real, fake), chosen.generator(fake)
    assert critic.shape == generator.shape == (3,)
    flat = chosen.critic(real.reshape(-1), fake.reshape(-1))
    np.testing.assert_allclose(critic, np.reshape(flat, (3, 20)).mean(1), rtol=1e-5)
    flat = chosen.generator(fake.reshape(-1))
    np.testing.assert_allclose(generator, np.reshape(flat, (3, 20)).mean(1), rtol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_confident_logits_stay_finite(name, dtype):
    logit = tf.Variable(np.array([-1e4, -50.0, 0.0, 50.0, 1e4]), dtype=dtype)
    chosen = objective(name)
    with tf.GradientTape(persistent=True) as tape:
        critic = chosen.critic(logit, -logit)
        generator = chosen.generator(logit)
    for value in (critic, generator):
        assert value.dtype == tf.float32
        assert np.isfinite(value).all()
        assert np.isfinite(tf.cast(tape.gradient(value, logit), tf.float32)).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_generator_wants_a_higher_logit_where_the_critic_wants_a_lower(name):
    logit = tf.Variable([-0.6, -0.2, 0.4])
    chosen = objective(name)
    with tf.GradientTape(persistent=True) as tape:
        critic = chosen.critic(tf.zeros(3), logit)
        generator = chosen.generator(logit)
    assert (tape.gradient(generator, logit).numpy() < 0).all()
    if name == "least_squares":  # pulled to the label 0 from both sides
        assert (tape.gradient(critic, logit).numpy() * logit.numpy() > 0).all()
    else:
        assert (tape.gradient(critic, logit).numpy() > 0).all()


def test_names_and_labels_are_checked():
    with pytest.raises(ValueError, match="hinge, wasserstein"):
        objective("vanila")
    with pytest.raises(ValueError, match=r"\['a'\]"):
        objective("hinge", a=1.0)


def best_critic(chosen, p, q, steps=2000, rate=0.5):
    """The logits on a discrete set that minimise E_p, E_q of the critic's objective, by descent."""
    logits = tf.Variable(np.zeros(p.shape), dtype=tf.float32)

    @tf.function
    def descend():
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                # Real and generated parts apart, so that each has its own probability.
                zero = tf.zeros_like(logits)
                real = chosen.critic(logits, zero) - chosen.critic(zero, zero)
                fake = chosen.critic(zero, logits) - chosen.critic(zero, zero)
                value = tf.reduce_sum(p * real + q * fake)
            logits.assign_sub(rate * tape.gradient(value, logits))

    descend()
    zero = np.zeros(p.shape, "float32")
    base = chosen.critic(zero, zero)
    value = np.sum(
        p * (chosen.critic(logits, zero) - base) + q * (chosen.critic(zero, logits) - base)
    )
    return logits.numpy(), float(value + base[0])


def test_the_optimal_critic_of_the_minimax_game_gives_the_jensen_shannon_divergence():
    p, q = P[:3] / P[:3].sum(), Q[:3] / Q[:3].sum()
    logits, value = best_critic(objective("saturating"), p, q, rate=5.0)
    np.testing.assert_allclose(sigmoid(logits), p / (p + q), atol=1e-4)
    middle = (p + q) / 2
    divergence = 0.5 * np.sum(p * np.log(p / middle)) + 0.5 * np.sum(q * np.log(q / middle))
    # The critic minimises, so the game's value 2 JSD - log 4 has the other sign.
    assert -value == pytest.approx(2 * divergence - np.log(4), abs=1e-5)


def test_the_optimal_least_squares_critic_gives_pearsons_chi_square():
    a, b, c = -1.0, 1.0, 0.0  # b - c = 1, b - a = 2
    chosen = objective("least_squares", a=a, b=b, c=c)
    logits, _ = best_critic(chosen, P, Q, rate=1.0)
    np.testing.assert_allclose(logits, (b * P + a * Q) / (P + Q), atol=1e-5)
    # Mao et al. 2017, equation 6: with E_p[(D - c)²] added, which is constant for G,
    # 2 C(G) = χ²(p + q ‖ 2 q).
    cost = np.sum((P + Q) * np.asarray(chosen.generator(logits), "float64"))
    assert 2 * cost == pytest.approx(np.sum((2 * Q - (P + Q)) ** 2 / (P + Q)), rel=1e-5)


def test_hinge_has_no_gradient_outside_its_margin():
    real, fake = tf.Variable([1.1, 0.9]), tf.Variable([-1.1, -0.9])
    with tf.GradientTape() as tape:
        value = objective("hinge").critic(real, fake)
    to_real, to_fake = tape.gradient(value, [real, fake])
    np.testing.assert_array_equal(to_real, [0.0, -1.0])
    np.testing.assert_array_equal(to_fake, [0.0, 1.0])


def test_the_optimal_critic_of_the_hinge_is_the_sign_of_the_difference():
    chosen = objective("hinge")
    logits, value = best_critic(chosen, P, Q, steps=1000, rate=0.01)
    differ = P != Q
    np.testing.assert_allclose(logits[differ], np.sign(P - Q)[differ], atol=0.02)
    # E_p max(0, 1 - D) + E_q max(0, 1 + D) at D* = sign(p - q): twice what both share.
    assert value == pytest.approx(2 * np.minimum(P, Q).sum(), abs=0.01)


def test_the_nonsaturating_generator_descends_on_kl_minus_twice_jensen_shannon():
    # Arjovsky and Bottou 2017, theorem 2.5: at the optimal critic the slope of E_q[-log D*] is that
    # of KL(q‖p) - 2 JSD(p‖q).
    chosen = objective("nonsaturating")
    p = np.array([0.5, 0.3, 0.2])
    theta = tf.Variable([0.3, -0.2, 0.6], dtype=tf.float64)
    q = tf.nn.softmax(theta).numpy()
    logits, value = best_critic(chosen, p, q, rate=5.0)
    np.testing.assert_allclose(sigmoid(logits), p / (p + q), atol=1e-4)
    middle = (p + q) / 2
    divergence = 0.5 * np.sum(p * np.log(p / middle)) + 0.5 * np.sum(q * np.log(q / middle))
    assert -value == pytest.approx(2 * divergence - np.log(4), abs=1e-5)
    with tf.GradientTape(persistent=True) as tape:
        q = tf.nn.softmax(theta)
        loss = tf.reduce_sum(q * tf.cast(chosen.generator(logits), tf.float64))
        mean = (p + q) / 2
        shannon = tf.reduce_sum(p * tf.math.log(p / mean) + q * tf.math.log(q / mean)) / 2
        expected = tf.reduce_sum(q * tf.math.log(q / p)) - 2 * shannon
    np.testing.assert_allclose(
        tape.gradient(loss, theta), tape.gradient(expected, theta), atol=1e-4
    )


def test_a_clipped_linear_critic_measures_two_point_masses():
    """Between masses at 0 and at d, the best critic of slope ≤ c reaches -c d."""
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    chosen, distance, c = objective("wasserstein"), 3.0, 0.25
    real, fake = tf.fill([4, 1], distance), tf.zeros([4, 1])
    optimizer = keras.optimizers.RMSprop(0.05)
    for _ in range(30):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(chosen.critic(network(real), network(fake)))
        weights = network.trainable_variables
        optimizer.apply(tape.gradient(value, weights), weights)
        clip_weights(network, c)
    value = tf.reduce_mean(chosen.critic(network(real), network(fake)))
    assert float(value) == pytest.approx(-c * distance, abs=1e-6)


def test_clipping_leaves_statistics_alone():
    network = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    network.layers[0].moving_variance.assign([4.0, 5.0, 6.0])
    clip_weights(network, 0.01)
    np.testing.assert_array_equal(network.layers[0].moving_variance, [4.0, 5.0, 6.0])
    np.testing.assert_allclose(network.layers[0].gamma, 0.01)


def smooth_critic(samples, weights):
    """D(x) = Σ tanh(x W), with a gradient that numpy can write down."""
    return tf.reduce_sum(tf.tanh(tf.reshape(samples, (samples.shape[0], -1)) @ weights), axis=1)


def penalty_in_numpy(real, fake, mix, weights, target=1.0):
    mixed = mix[:, None] * real.reshape(len(real), -1) + (1 - mix[:, None]) * fake.reshape(
        len(fake), -1
    )
    slope = (1 - np.tanh(mixed @ weights) ** 2) @ weights.T
    return (np.sqrt((slope**2).sum(1)) - target) ** 2


@pytest.fixture
def penalised():
    rng = np.random.default_rng(3)
    real, fake = rng.normal(size=(2, 4, 3, 2, 1)).astype("float32")
    return real, fake, rng.uniform(size=4).astype("float32"), rng.normal(size=(6, 5)) * 0.4


@pytest.mark.parametrize("target", [1.0, 0.0, 3.0])
def test_the_penalty_is_the_closed_form(penalised, target):
    real, fake, mix, weights = penalised
    value = gradient_penalty(
        lambda x: smooth_critic(x, weights.astype("float32")), real, fake, mix, target
    )
    np.testing.assert_allclose(
        value, penalty_in_numpy(real, fake, mix, weights, target), rtol=2e-5, atol=1e-6
    )


def test_the_penaltys_derivative_is_that_of_finite_differences(penalised):
    real, fake, mix, weights = penalised
    variable = tf.Variable(weights, dtype=tf.float32)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(
            gradient_penalty(lambda x: smooth_critic(x, variable), real, fake, mix)
        )
    analytic = tape.gradient(value, variable).numpy()
    step, numeric = 1e-6, np.zeros_like(weights)
    for index in np.ndindex(*weights.shape):
        move = np.zeros_like(weights)
        move[index] = step
        numeric[index] = (
            penalty_in_numpy(real, fake, mix, weights + move).sum()
            - penalty_in_numpy(real, fake, mix, weights - move).sum()
        ) / (2 * step)
    np.testing.assert_allclose(analytic, numeric, rtol=1e-3, atol=1e-4)


def test_a_linear_critic_of_unit_gradient_has_no_penalty():
    direction = np.zeros((2, 8), "float32")
    direction[:, 5] = 1.0
    real, fake = np.random.default_rng(0).normal(size=(2, 2, 2, 4, 1)).astype("float32")
    value = gradient_penalty(
        lambda x: tf.reduce_sum(tf.reshape(x, (2, 8)) * direction, 1), real, fake, [0.2, 0.9]
    )
    np.testing.assert_array_equal(value, [0.0, 0.0])


def test_a_flat_critic_has_the_full_penalty_and_a_finite_derivative():
    weight = tf.Variable(0.0)
    real = np.ones((2, 3, 3, 1), "float32")
    with tf.GradientTape() as tape:
        value = gradient_penalty(
            lambda x: weight * tf.reduce_sum(x, (1, 2, 3)), real, -real, [0.5, 0.5]
        )
    np.testing.assert_array_equal(value, [1.0, 1.0])
    assert np.isfinite(tape.gradient(value, weight))


def test_each_sample_has_its_own_mixture(penalised):
    real, fake, mix, weights = penalised

    def penalty(mix):
        return gradient_penalty(
            lambda x: smooth_critic(x, weights.astype("float32")), real, fake, mix
        ).numpy()

    changed = mix.copy()
    changed[2] = 1 - changed[2] / 3
    before, after = penalty(mix), penalty(changed)
    np.testing.assert_array_equal(before[[0, 1, 3]], after[[0, 1, 3]])
    assert before[2] != after[2]
    np.testing.assert_array_equal(before, penalty(mix[:, None, None, None]))


def test_a_number_a_pixel_is_refused(penalised):
    real, fake, _, _ = penalised
    with pytest.raises(ValueError, match="one number a sample"):
        gradient_penalty(lambda x: x, real, fake, 0.5 * np.ones_like(real))


def test_the_mixture_is_between_real_and_generated(penalised):
    real, fake, _, _ = penalised
    seen = []

    def critic(x):
        seen.append(x.numpy())
        return tf.reduce_sum(x, (1, 2, 3))

    gradient_penalty(critic, real, fake, [1.0, 0.0, 0.25, 0.5])
    np.testing.assert_array_equal(seen[0][0], real[0])
    np.testing.assert_array_equal(seen[0][1], fake[1])
    np.testing.assert_allclose(seen[0][2], 0.25 * real[2] + 0.75 * fake[2], rtol=1e-6)


def test_a_patch_critics_slope_is_that_of_its_mean():
    real, fake = np.random.default_rng(1).normal(size=(2, 2, 4, 4, 1)).astype("float32")
    patches = gradient_penalty(lambda x: 4.0 * x, real, fake, [0.3, 0.6])
    # The mean of 4 x over 16 pixels has the gradient 4/16 at each, of norm 1.
    np.testing.assert_allclose(patches, [0.0, 0.0], atol=1e-12)


def test_the_penalty_stays_finite_in_bfloat16(penalised):
    real, fake, mix, weights = penalised
    variable = tf.Variable(weights, dtype=tf.bfloat16)
    with tf.GradientTape() as tape:
        value = gradient_penalty(
            lambda x: smooth_critic(tf.cast(x, tf.bfloat16), variable), real, fake, mix
        )
    assert value.dtype == tf.float32
    np.testing.assert_allclose(value, penalty_in_numpy(real, fake, mix, weights), atol=0.1)
    assert np.isfinite(tf.cast(tape.gradient(value, variable), tf.float32)).all()
