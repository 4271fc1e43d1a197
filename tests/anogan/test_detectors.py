"""Detectors: a score belongs to its scan alone, and a search searches."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from anogan.aae import AdversarialAutoencoder
from anogan.anogan import AnoGAN
from anogan.bigan import BiGAN
from anogan.density import GANDensity, PlantedDensity
from anogan.detector import Findings
from anogan.fanogan import FAnoGAN
from anogan.ganomaly import GANomaly
from anogan.latent_gan import LatentGAN
from anogan.linear import Linear
from anogan.patch_posterior import PatchPosterior
from anogan.planted import Planted
from anogan.vae import VAE
from anogan.vaegan import VAEGAN
from anogan.vagan import VAGAN
from anogan.variance_autoencoder import VarianceAutoencoder
from ganatomy.training import train
from tests.feeding import feed

SHAPE = (8, 8, 1)
SMALL = {"latent": 4, "width": 2, "chunk": 4}


def rough(model):
    """Random weights that make a network say something: initial ones are close to nothing."""
    draw = np.random.default_rng(1)
    for network in model.networks.values():
        network.set_weights(
            [
                w + np.abs(draw.normal(0, 0.3, w.shape)).astype("float32")
                for w in network.get_weights()
            ]
        )
    return model


def images(count=6, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *shape)).astype("float32")


def solved():
    model = Linear(SHAPE, components=2, chunk=4)
    model.solve(images(20, seed=5))
    return model


def dense(kind):
    model = PlantedDensity(SHAPE, density=kind, width=2, chunk=4)
    model.solve(images(20, seed=5))
    return model


def gan_density(source):
    model = GANDensity(SHAPE, source=source, layer="block_1_out", network="dcgan", **SMALL)
    model.solve(images(20, seed=5))
    return model


MAKERS = {
    "density of a critic": lambda: gan_density("critic"),
    "density of an encoder": lambda: gan_density("encoder"),
    "density": lambda: dense("gaussian"),
    "density, neighbours": lambda: dense("neighbours"),
    "planted": lambda: rough(Planted(SHAPE, width=2, chunk=4)),
    "patch posterior": lambda: rough(
        PatchPosterior(SHAPE, patch=7, patches=2, latent=4, width=2, chunk=4)
    ),
    "bigan": lambda: rough(BiGAN(SHAPE, **SMALL)),
    "ali": lambda: rough(
        BiGAN(SHAPE, network="residual", stochastic=True, judge="cross_entropy", **SMALL)
    ),
    "ganomaly": lambda: rough(GANomaly(SHAPE, **SMALL)),
    "variance autoencoder": lambda: rough(VarianceAutoencoder(SHAPE, **SMALL)),
    "vagan": lambda: rough(VAGAN(SHAPE, width=2, chunk=4)),
    "aae": lambda: rough(AdversarialAutoencoder(SHAPE, **SMALL)),
    "vae": lambda: rough(VAE(SHAPE, network="residual", norm="batch", **SMALL)),
    "vae, restored": lambda: rough(
        VAE(SHAPE, restoration_steps=10, restoration_rate=0.1, variation=0.2, **SMALL)
    ),
    "vaegan": lambda: rough(VAEGAN(SHAPE, **SMALL)),
    "linear": solved,
    "fanogan": lambda: rough(FAnoGAN(SHAPE, **SMALL)),
    "anogan": lambda: rough(AnoGAN(SHAPE, search_steps=15, restarts=2, search_rate=0.1, **SMALL)),
    "anogan, encoder": lambda: rough(
        AnoGAN(
            SHAPE,
            search_steps=10,
            restarts=2,
            patience=4,
            encoding="izi",
            search_start="encoder",
            **SMALL,
        )
    ),
}


@pytest.fixture(scope="module", params=MAKERS)
def model(request):
    keras.utils.set_random_seed(0)
    return MAKERS[request.param]()


def test_findings_have_the_shapes_they_state(model):
    found = model.inspect(images())
    assert found.reconstruction.shape == (6, *SHAPE)
    assert found.residual.shape == (6, 8, 8)
    assert found.paper_score.shape == (6,)
    assert found.latent.shape[0] == 6
    # What makes no counterpart hands the sample through, and says its own thing of each pixel.
    own = isinstance(model, VarianceAutoencoder)
    if not own and not np.array_equal(found.reconstruction, images()):
        difference = (images() - found.reconstruction)[..., 0]
        np.testing.assert_allclose(found.residual, difference, atol=1e-7)
    assert (found.paper_score >= 0).all()


def test_channels_that_differ_in_opposite_ways_do_not_cancel():
    x = np.zeros((1, 2, 2, 3), "float32")
    x[0, 0, 0], x[0, 0, 1], x[0, 1, 0] = [0.5, -0.5, 0.0], [0.1, -0.5, 0.2], [0.0, 0.3, -0.2]
    found = Findings.against(x, np.zeros_like(x), np.zeros(1), np.zeros((1, 0)))
    np.testing.assert_allclose(found.residual, np.float32([[[0.5, -0.5], [0.3, 0.0]]]))
    one = images()
    np.testing.assert_array_equal(
        Findings.against(one, one / 3, np.zeros(6), np.zeros((6, 0))).residual,
        (one - one / 3)[..., 0],
    )


def test_a_score_is_bitwise_the_same_alone_in_company_and_in_any_order(model):
    together = model.inspect(images())
    alone = model.inspect(images()[4:5])
    order = np.array([4, 0, 5, 2, 2, 1, 3])
    shuffled = model.inspect(images()[order])
    for one, single, moved in zip(together, alone, shuffled, strict=True):
        np.testing.assert_array_equal(one[4], single[0])
        np.testing.assert_array_equal(one[order], moved)


@pytest.mark.parametrize("network", ["dcgan", "residual"])
@pytest.mark.parametrize("kind", [AnoGAN, FAnoGAN])
def test_every_place_of_a_full_pass_is_alike(kind, network):
    # The last rows of a matrix product are added up in another order than the rest.
    keras.utils.set_random_seed(0)
    search = {"search_steps": 6, "restarts": 2} if kind is AnoGAN else {}
    shape = (16, 16, 1)
    model = rough(kind(shape, network=network, latent=8, width=4, chunk=32, **search))
    found = model.inspect(np.repeat(images(1, shape), 37, axis=0))
    for values in found:
        for place in range(1, 37):
            np.testing.assert_array_equal(values[place], values[0], err_msg=str(place))


def test_a_score_does_not_depend_on_what_was_scored_before(model):
    first = model.inspect(images()).paper_score
    model.inspect(images(9, seed=8) * 0.1)
    np.testing.assert_array_equal(model.inspect(images()).paper_score, first)


def test_nothing_to_inspect_is_an_error(model):
    with pytest.raises(ValueError, match="no samples to inspect"):
        model.inspect(images(0))


# Principal components ----------------------------------------------------------------------


@pytest.mark.parametrize("components", [1, 3])
def test_linear_is_scikit_learns_pca(components):
    from sklearn.decomposition import PCA

    healthy, new = images(30, seed=2), images(5, seed=3)
    model = Linear(SHAPE, components=components)
    model.solve(healthy)
    pca = PCA(components, svd_solver="full").fit(healthy.reshape(30, -1))
    expected = pca.inverse_transform(pca.transform(new.reshape(5, -1))).reshape(new.shape)
    found = model.inspect(new)
    np.testing.assert_allclose(found.reconstruction, expected, atol=1e-5)
    np.testing.assert_allclose(found.paper_score, np.abs(new - expected).mean((1, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(found.latent, pca.transform(new.reshape(5, -1)), atol=1e-5)


def test_mixed_precision_leaves_the_control_as_it_is():
    expected = solved().inspect(images())
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = solved().inspect(images())
    finally:
        keras.config.set_dtype_policy(before)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_components_leave_the_healthy_mean():
    healthy = images(10)
    model = Linear(SHAPE, components=0)
    model.solve(healthy)
    np.testing.assert_allclose(
        model.inspect(images(2, seed=1)).reconstruction, [healthy.mean(0)] * 2, atol=1e-6
    )


def test_of_very_many_samples_some_are_fitted_on(monkeypatch):
    """The same ones each time, drawn of all; never too few for the components."""
    few = np.sort(np.random.default_rng(0).choice(40, 10, replace=False))
    healthy, new = images(40, seed=2), images(3, seed=3)
    expected = Linear(SHAPE, components=2)
    expected.solve(healthy[few])
    monkeypatch.setattr("anogan.linear.MOST", 10 * int(np.prod(SHAPE)))
    model = Linear(SHAPE, components=2)
    model.solve(healthy)
    for one, other in zip(model.inspect(new), expected.inspect(new), strict=True):
        np.testing.assert_array_equal(one, other)
    Linear(SHAPE, components=20).solve(healthy)


def test_too_few_samples_for_the_components_are_counted():
    with pytest.raises(ValueError, match="4 samples are too few for 4 components"):
        Linear(SHAPE, components=4).solve(images(4))


# AnoGAN's search ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def search():
    """`search(**settings)`: AnoGAN's scores under the same networks."""
    keras.utils.set_random_seed(0)
    weights = [n.get_weights() for n in rough(AnoGAN(SHAPE, **SMALL)).networks.values()]

    def run(samples, **settings):
        model = AnoGAN(SHAPE, **{**SMALL, "search_rate": 0.1, **settings})
        for network, stored in zip(model.networks.values(), weights, strict=False):
            network.set_weights(stored)
        return model, model.inspect(samples)

    return run


def objective(model, samples, z, lam):
    """The search's objective, written out again."""
    made = model.networks["generator"](z, training=False).numpy()
    features = [
        np.asarray(model.networks["critic"](x, training=False)["features"]) for x in (samples, made)
    ]
    residual = np.abs(samples - made).sum((1, 2, 3))
    return (1 - lam) * residual + lam * np.abs(features[0] - features[1]).reshape(
        len(samples), -1
    ).sum(1)


def test_a_score_is_the_papers_loss_at_the_code_that_was_found(search):
    model, found = search(images(), search_steps=10, lam=0.3)
    np.testing.assert_allclose(
        found.paper_score, objective(model, images(), found.latent, 0.3), rtol=1e-4
    )
    np.testing.assert_allclose(
        found.reconstruction, model.networks["generator"](found.latent, training=False), atol=1e-6
    )


def test_the_search_lowers_its_objective(search):
    model, found = search(images(), search_steps=40)
    start = model.start(images())[:, 0]
    before = objective(model, images(), start, model.lam)
    assert (found.paper_score < before).all()
    assert found.paper_score.mean() < 0.95 * before.mean()


def test_more_steps_and_more_restarts_never_worsen_a_score(search):
    scores = {
        (steps, restarts): search(images(), search_steps=steps, restarts=restarts)[1].paper_score
        for steps, restarts in [(5, 1), (20, 1), (20, 4)]
    }
    assert (scores[20, 1] <= scores[5, 1]).all()
    # Rows of another batch differ in the last bits; a restart takes the first search along.
    assert (scores[20, 4] <= scores[20, 1] * (1 + 1e-3)).all()
    assert scores[20, 4].sum() < scores[20, 1].sum()


def test_a_search_starts_from_the_samples_content_and_the_seed_alone(search):
    model, _ = search(images(1), search_steps=1, restarts=3)
    start = model.start(images())
    assert start.shape == (6, 3, 4)
    np.testing.assert_array_equal(model.start(images()[::-1])[::-1], start)
    np.testing.assert_array_equal(model.start(images()[2:3])[0], start[2])
    assert len({row.tobytes() for row in start.reshape(-1, 4)}) == 18
    other = AnoGAN(SHAPE, restarts=3, search_seed=1, **SMALL)
    assert not np.array_equal(other.start(images()), start)
    many = np.concatenate([model.start(images(50, seed=s)).ravel() for s in range(4)])
    assert abs(many.mean()) < 0.1
    assert abs(many.std() - 1) < 0.1


def test_a_sample_on_the_generators_manifold_scores_next_to_nothing(search):
    model, _ = search(images(1), search_steps=1)
    z = np.random.default_rng(3).normal(size=(4, 4)).astype("float32")
    healthy = model.networks["generator"](z, training=False).numpy()
    settings = {"search_steps": 300, "restarts": 3, "search_decay": 0.05}
    own = search(healthy, **settings)[1].paper_score
    strange = search(images(4), **settings)[1].paper_score
    assert own.max() < 0.3 * strange.min()


def test_an_encoders_code_is_where_the_search_begins():
    keras.utils.set_random_seed(0)
    model = rough(
        AnoGAN(
            SHAPE, encoding="izi", search_start="encoder", search_steps=1, search_rate=0.0, **SMALL
        )
    )
    code = model.networks["encoder"](images(), training=False).numpy()
    np.testing.assert_allclose(model.inspect(images()).latent, code, atol=1e-5)


def test_an_encoder_start_needs_an_encoder():
    with pytest.raises(ValueError, match="needs an encoding"):
        AnoGAN(SHAPE, search_start="encoder")
    with pytest.raises(ValueError, match="neither prior nor encoder"):
        AnoGAN(SHAPE, search_start="middle")
    with pytest.raises(ValueError, match="is none of izi, ziz, izi_f"):
        FAnoGAN(SHAPE, encoding="zzz")


UNBOUNDED = {"adversary": "wasserstein", "critic_norm": None}
PENALTY = {"critic/penalty": 10.0}


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (FAnoGAN, {"critic_norm": "batch"}, "batch normalisation in the critic mixes samples"),
        (AnoGAN, {"term_weights": PENALTY}, "batch normalisation in the critic mixes samples"),
        (BiGAN, {"term_weights": PENALTY}, "batch normalisation in the critic mixes samples"),
        (
            BiGAN,
            {"term_weights": {"critic/penalty": [[0, 0.0], [100, 10.0]]}},
            "batch normalisation in the critic mixes samples",
        ),
        (AnoGAN, UNBOUNDED, "needs a critic of bounded slope"),
        (BiGAN, UNBOUNDED, "needs a critic of bounded slope"),
        (FAnoGAN, {"term_weights": {"critic/penalty": 0.0}}, "needs a critic of bounded slope"),
        (
            AdversarialAutoencoder,
            {"term_weights": {"critic/penalty": 0.0}},
            "needs a critic of bounded slope",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        kind(SHAPE, **SMALL, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (FAnoGAN, {}),
        (LatentGAN, {}),
        (AnoGAN, {**UNBOUNDED, "clip": 0.01}),
        (AnoGAN, {**UNBOUNDED, "spectral": True}),
        (AnoGAN, {**UNBOUNDED, "term_weights": PENALTY}),
        (BiGAN, {**UNBOUNDED, "term_weights": {"critic/penalty": [[0, 0.0], [100, 10.0]]}}),
    ],
)
def test_settings_that_bound_a_wasserstein_critic_are_taken(kind, settings):
    model = kind(SHAPE, **SMALL, **settings)
    assert set(model.networks) >= {"generator", "critic"}


# f-AnoGAN ------------------------------------------------------------------------------------


def test_fanogans_score_is_both_residuals_together():
    keras.utils.set_random_seed(0)
    model = rough(FAnoGAN(SHAPE, kappa=0.7, **SMALL))
    found = model.inspect(images(4))
    critic = model.networks["critic"]
    f, g = (
        np.asarray(critic(x, training=False)["features"]) for x in (images(4), found.reconstruction)
    )
    expected = ((images(4) - found.reconstruction) ** 2).mean((1, 2, 3)) + 0.7 * (
        (f - g) ** 2
    ).reshape(4, -1).mean(1)
    np.testing.assert_allclose(found.paper_score, expected, rtol=1e-4)


def test_every_verb_uses_the_average():
    keras.utils.set_random_seed(0)
    model = rough(FAnoGAN(SHAPE, averages={"generator": 0.9}, **SMALL))
    before = model.inspect(images(4)).reconstruction
    model.networks["generator"].set_weights(
        [w * 0 for w in model.networks["generator"].get_weights()]
    )
    np.testing.assert_array_equal(model.inspect(images(4)).reconstruction, before)


@pytest.mark.parametrize(
    ("encoding", "terms"),
    [
        ("izi", {"encoder/image"}),
        ("ziz", {"encoder/code"}),
        ("izi_f", {"encoder/image", "encoder/features"}),
    ],
)
def test_the_encoder_learns_and_leaves_generator_and_critic_alone(encoding, terms):
    keras.utils.set_random_seed(0)
    # A DCGAN: its graph is small. What it draws itself can be learned in a few steps.
    model = rough(
        LatentGAN(
            SHAPE,
            network="dcgan",
            encoding=encoding,
            optimizers={"encoder": {"learning_rate": 0.02}},
            **SMALL,
        )
    )
    z = np.random.default_rng(2).uniform(-1, 1, (16, 4)).astype("float32")
    array, losses = model.networks["generator"](z, training=False).numpy(), []
    frozen = [n.get_weights() for n in (model.networks["generator"], model.networks["critic"])]

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            losses.append(logs)

    data = feed(model, 8, scan=array)
    steps = {"adversarial": 0, "encoder": 60}
    train(model, data, steps, every=1, callbacks=lambda: [Keep()])
    assert set(losses[0]) == terms
    total = [sum(float(np.mean(v)) for v in row.values()) for row in losses]
    assert np.mean(total[-8:]) < 0.9 * np.mean(total[:8])
    for before, network in zip(frozen, ("generator", "critic"), strict=True):
        for a, b in zip(before, model.networks[network].get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [AnoGAN, FAnoGAN])
def test_volumes_have_detectors_too(kind):
    model = kind((8, 8, 8, 1), **SMALL, **({"search_steps": 2} if kind is AnoGAN else {}))
    found = model.inspect(images(2, (8, 8, 8, 1)))
    assert found.residual.shape == (2, 8, 8, 8)
    assert np.isfinite(found.paper_score).all()


@pytest.mark.parametrize("network", ["dcgan", "residual"])
def test_a_critic_is_spectrally_normalised_where_asked_for(network):
    settings = {"network": network, "critic_norm": None, **SMALL}

    def normalised(**more):
        critic = FAnoGAN(SHAPE, **settings, **more).networks["critic"]
        kinds = [type(layer).__name__ for layer in critic.layers]
        return sum("Spectral" in kind for kind in kinds)

    assert normalised() == 0
    assert normalised(spectral=True) >= 2
    model = FAnoGAN(SHAPE, spectral=True, **settings)
    assert np.isfinite(model.inspect(images(3)).paper_score).all()


@pytest.mark.parametrize(("penalty", "iterations"), [(0.0, 3), (10.0, 4)])
def test_spectral_normalisation_iterates_with_every_call_of_a_step(penalty, iterations):
    keras.utils.set_random_seed(0)
    model = LatentGAN(
        SHAPE,
        network="dcgan",
        critic_norm=None,
        spectral=True,
        critic_updates=1,
        encoding=None,
        optimizers={"critic": {"learning_rate": 0.0}},  # a kernel that stays, to count by
        term_weights={"critic/penalty": penalty},
        **SMALL,
    )
    critic = model.networks["critic"]
    layer = next(layer for layer in critic.layers if "Spectral" in type(layer).__name__)
    matrix, u = np.asarray(layer.layer.kernel), np.asarray(layer.u)
    matrix = matrix.reshape(-1, matrix.shape[-1])
    draw = np.random.default_rng(0)
    noise = {"z": draw.normal(size=(3, 1, 4)), "mix": draw.uniform(size=(3, 1))}
    batch = {name: value.astype("float32") for name, value in noise.items()}
    model.train_step({"scan": images(3)[:, None], **batch})
    for _ in range(iterations):
        v = u @ matrix.T
        before, u = u, v / np.linalg.norm(v) @ matrix
        u = u / np.linalg.norm(u)
    np.testing.assert_allclose(layer.u, u, atol=1e-5)
    assert np.abs(u - before).max() > 1e-4


def test_pictures_of_training_are_pictures():
    keras.utils.set_random_seed(0)
    model = FAnoGAN(SHAPE, **SMALL)
    shown = model.pictures(images(8))
    assert shown["samples"].shape == (8, 64)
    model.stage = model.stage_list[1]
    shown = model.pictures(images(8))
    assert shown["reconstructions"].shape == (16, 64)
    assert max(np.abs(image).max() for image in shown.values()) <= 1
