"""A game's rules: who moves, when, on what, and what is reported."""

import itertools
from pathlib import Path
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from ganatomy.errors import WrongUse
from ganatomy.game import AdversarialModel, Critic, Noise, Player, Stage
from ganatomy.training import train
from tests.feeding import feed

PARITY = Path(__file__).parents[1] / "data" / "parity"


def line(name, size=2, bias=0.0):
    """x [B, size] -> [B, size]: one weight a coordinate and a constant."""
    x = keras.Input((size,))
    y = keras.layers.Dense(
        size, bias_initializer=keras.initializers.Constant(bias), name=f"{name}_dense"
    )(x)
    return keras.Model(x, y, name=name)


def squared(x):
    return tf.reduce_mean(tf.square(x), axis=tuple(range(1, len(x.shape))))


class Toy(AdversarialModel):
    """One player that fits y = 0; every part may be replaced."""

    task = "toy"
    default_optimizer: ClassVar = {"kind": "sgd", "learning_rate": 0.1}

    def __init__(self, *, terms=None, stage_list=None, names=("fit",), noise=None, **game):
        super().__init__(**game)
        self._terms, self._stages, self._names = terms, stage_list, names
        self._noise = noise or {}
        self.assemble()

    @property
    def noise(self):
        return self._noise

    def build_networks(self):
        return {name: line(name) for name in self._names}

    def stages(self):
        if self._stages is not None:
            return self._stages(self)
        return [Stage("only", Player("fit", self.fit_terms))]

    def play(self, batch):
        return {name: self.networks[name](batch["scan"]) for name in self._names}

    def fit_terms(self, batch, played):
        return (self._terms or (lambda b, p: {"square": squared(p["fit"])}))(batch, played)


def batch_of(count=4, updates=1, seed=0, **more):
    draw = np.random.default_rng(seed)
    data = {"scan": draw.normal(size=(count, updates, 2)).astype("float32")}
    return {name: tf.constant(value) for name, value in {**data, **more}.items()}


def stream(first, end, updates, noise):
    """The batches of `train`, each a function of its step."""

    def one(step):
        return {"scan": tf.random.stateless_normal((4, updates, 2), tf.stack([step, 7]))}

    return tf.data.Dataset.range(first, end).map(one)


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(1)


def weights(model):
    return [v.numpy() for name in model.networks for v in model.networks[name].weights]


# Terms -------------------------------------------------------------------------------------


def test_a_term_of_weight_zero_is_not_computed():
    def terms(batch, played):
        return {"square": squared(played["fit"]), "costly": must_not_run}

    def must_not_run():
        raise AssertionError("a term of weight 0 was computed")

    logs = Toy(terms=terms, term_weights={"fit/costly": 0.0}).train_step(batch_of())
    assert set(logs) == {"fit/square"}
    with pytest.raises(AssertionError, match="was computed"):
        Toy(terms=terms).train_step(batch_of())


def test_weights_multiply_terms_and_logs_do_not_show_them():
    plain, heavy = Toy(), Toy(term_weights={"fit/square": 3.0})
    heavy.networks["fit"].set_weights(plain.networks["fit"].get_weights())
    before = plain.networks["fit"].get_weights()
    logs = [model.train_step(batch_of()) for model in (plain, heavy)]
    np.testing.assert_array_equal(logs[0]["fit/square"], logs[1]["fit/square"])
    moves = [model.networks["fit"].get_weights()[0] - before[0] for model in (plain, heavy)]
    np.testing.assert_allclose(moves[1], 3 * moves[0], rtol=1e-5)


def test_an_update_is_the_optimizers_on_the_mean_over_the_batch():
    model, data = Toy(), batch_of()
    kernel, bias = (tf.constant(w) for w in model.networks["fit"].get_weights())
    with tf.GradientTape() as tape:
        tape.watch([kernel, bias])
        loss = tf.reduce_mean(tf.square(data["scan"][:, 0] @ kernel + bias))
    gradients = tape.gradient(loss, [kernel, bias])
    logs = model.train_step(data)
    assert float(logs["fit/square"][0]) == pytest.approx(float(loss), rel=1e-6)
    for now, was, slope in zip(
        model.networks["fit"].get_weights(), (kernel, bias), gradients, strict=True
    ):
        np.testing.assert_allclose(now, was - 0.1 * slope, rtol=1e-5, atol=1e-7)


def test_a_weight_of_a_player_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"term_weights names \['fti/square'\]; the players are"):
        Toy(term_weights={"fti/square": 2.0})


@pytest.mark.parametrize("weight", [0.0, 2.0, [[0, 0.0], [5, 1.0]]])
def test_a_weight_of_a_term_there_is_not_is_refused_before_the_first_step(weight):
    model = Toy(term_weights={"fit/squrae": weight})
    before = weights(model)
    with pytest.raises(WrongUse) as caught:
        train(model, stream, {"only": 2}, every=1)
    assert str(caught.value) == (
        "term_weights names ['fit/squrae']; the terms of fit are ['fit/square']"
    )
    np.testing.assert_array_equal(weights(model)[0], before[0])


def test_a_term_may_be_of_another_stage_of_its_player():
    def stages(model):
        one = Player("fit", lambda b, p: {"near": squared(p["fit"])})
        two = Player("fit", lambda b, p: {"far": squared(p["fit"] - 3.0)})
        return [Stage("first", one), Stage("second", two)]

    steps = {"first": 1, "second": 1}
    good = Toy(stage_list=stages, term_weights={"fit/near": 2.0, "fit/far": 2.0})
    train(good, stream, steps, every=1)
    assert int(good.step.numpy()) == 2
    bad = Toy(stage_list=stages, term_weights={"fit/farr": 2.0})
    with pytest.raises(WrongUse, match=r"the terms of fit are \['fit/far', 'fit/near'\]"):
        train(bad, stream, steps, every=1)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 2.0), (10, 2.0), (15, 1.0), (20, 0.0), (30, 0.5), (99, 1.0)]
)
def test_a_schedule_is_linear_between_its_points(step, expected):
    model = Toy(term_weights={"fit/square": [[10, 2.0], [20, 0.0], [40, 1.0]]})
    model.step.assign(step)
    assert float(model.weight("fit/square")) == pytest.approx(expected)


@pytest.mark.parametrize(
    "weight",
    [
        "abc",
        None,
        float("nan"),
        {},
        [],
        [1.0, 2.0],
        [[0, 1.0], [5]],
        [[0, "x"]],
        [[5, 1.0], [5, 2.0]],
        [[5, 1.0], [0, 2.0]],
    ],
    ids=str,
)
def test_a_weight_that_is_no_number_and_no_schedule_is_refused(weight):
    with pytest.raises(ValueError, match=r"the weight of fit/square: expected a number, or \[\[st"):
        Toy(term_weights={"fit/square": weight})


def test_a_weight_may_be_written_as_yaml_reads_it():
    # 1e-3 without a point is a text in YAML.
    weights = {"fit/square": "1e-3", "fit/other": [[0, "1e-3"], [5, 1]]}
    model = Toy(term_weights=weights)
    assert model.weight("fit/square") == 1e-3
    assert float(model.weight("fit/other")) == pytest.approx(1e-3)


def test_a_schedule_acts_in_a_compiled_fit():
    # Weight 0 until step 3: nothing moves; then it does, without a new compilation.
    model = Toy(term_weights={"fit/square": [[3, 0.0], [4, 1.0]]})
    before = weights(model)
    train(model, stream, {"only": 3}, every=1)
    np.testing.assert_array_equal(weights(model)[0], before[0])
    train(model, stream, {"only": 6}, every=1)
    assert not np.array_equal(weights(model)[0], before[0])


def test_a_learning_rate_falls_to_nothing():
    rate = [[0, 0.1], [2, 0.1], [4, 0.0]]
    model = Toy(optimizers={"fit": {"kind": "sgd", "learning_rate": rate}})
    train(model, stream, {"only": 4}, every=1)
    before = weights(model)
    train(model, stream, {"only": 6}, every=1)
    np.testing.assert_array_equal(weights(model)[0], before[0])
    update = model.optimizers["fit"].iterations
    assert [float(model.optimizers["fit"]._learning_rate(n)) for n in (1, 3)] == [
        pytest.approx(0.1),
        pytest.approx(0.05),
    ]
    assert int(update) == 6


@pytest.mark.parametrize("value", [tf.zeros(()), tf.zeros((4, 1)), tf.zeros((4, 2, 2))])
def test_a_term_has_one_value_a_sample(value):
    model = Toy(terms=lambda batch, played: {"odd": value})
    with pytest.raises(ValueError, match=r"fit/odd has shape .* one value a sample"):
        model.train_step(batch_of())


def test_a_player_whose_terms_forget_its_network_is_an_error():
    model = Toy(terms=lambda batch, played: {"zero": squared(batch["scan"])})
    with pytest.raises(ValueError, match="player fit: no term depends on fit"):
        model.train_step(batch_of())


# Players -----------------------------------------------------------------------------------


class Duel(Toy):
    """A critic with several moves a step, and a player; both keep what they were shown."""

    def __init__(self, updates=3, clip=None, **game):
        self.shown = []
        self.updates, self.clip_to = updates, clip
        super().__init__(names=("maker", "judge"), **game)

    def stages(self):
        return [
            Stage(
                "duel",
                Critic("judge", self.judge_terms, updates=self.updates, clip=self.clip_to),
                Player("maker", self.maker_terms),
            )
        ]

    def play(self, batch):
        return self.networks["maker"](batch["scan"])

    def judge_terms(self, batch, made):
        self.shown.append(("judge", np.array(batch["scan"]), weights(self)))
        judge = self.networks["judge"]
        return {"gap": tf.reduce_mean(judge(made) - judge(batch["scan"]), axis=1)}

    def maker_terms(self, batch, made):
        self.shown.append(("maker", np.array(batch["scan"]), weights(self)))
        return {"fool": -tf.reduce_mean(self.networks["judge"](made), axis=1)}


def test_a_critic_moves_first_and_each_time_on_fresh_samples():
    model, data = Duel(updates=3), batch_of(updates=3)
    start = weights(model)
    model.train_step(data)
    assert [name for name, *_ in model.shown] == ["judge"] * 3 + ["maker"]
    for update, (_, scan, _) in enumerate(model.shown[:3]):
        np.testing.assert_array_equal(scan, data["scan"][:, update])
    # The player sees the last samples and the critic that has moved three times.
    np.testing.assert_array_equal(model.shown[3][1], data["scan"][:, 2])
    judged = [shown[2] for shown in model.shown]
    assert all(not np.array_equal(a[2], b[2]) for a, b in itertools.pairwise(judged))
    # Nobody moved the maker before its turn.
    assert all(np.array_equal(shown[0], start[0]) for shown in judged)
    assert not np.array_equal(weights(model)[0], start[0])


def test_a_critic_moves_nobody_else():
    model = Duel(term_weights={"maker/fool": [[0, 0.0]]})
    start = weights(model)
    model.train_step(batch_of(updates=3))
    np.testing.assert_array_equal(weights(model)[0], start[0])
    assert not np.array_equal(weights(model)[2], start[2])


def test_clipping_bounds_the_critic_and_not_the_player():
    model = Duel(clip=0.01)
    model.train_step(batch_of(updates=3))
    assert max(np.abs(w).max() for w in model.networks["judge"].get_weights()) <= 0.01
    assert np.abs(model.networks["maker"].get_weights()[0]).max() > 0.01


def test_critics_come_before_players():
    def nothing(batch, played):
        return {}

    with pytest.raises(ValueError, match="critics come before the other players"):
        Stage("wrong", Player("a", nothing), Critic("b", nothing))


def test_critics_of_different_diligence_end_with_the_same_samples():
    seen = {"one": [], "three": []}

    def watch(name):
        def terms(batch, played):
            seen[name].append(np.array(batch["scan"]))
            return {"square": squared(played[name])}

        return terms

    def stages(model):
        return [
            Stage(
                "both",
                Critic("one", lambda b, p: replay(model, "one", b), updates=1),
                Critic("three", lambda b, p: replay(model, "three", b), updates=3),
            )
        ]

    def replay(model, name, batch):
        # A critic judges with its own network: what was played comes with gradients stopped.
        return watch(name)(batch, {name: model.networks[name](batch["scan"])})

    data = batch_of(updates=3)
    Toy(names=("one", "three"), stage_list=stages).train_step(data)
    assert [len(seen[name]) for name in ("one", "three")] == [1, 3]
    np.testing.assert_array_equal(seen["one"][0], data["scan"][:, 2])


class Cycle(Toy):
    """Two generators that share one forward pass, as CycleGAN's do."""

    def __init__(self, **game):
        super().__init__(names=("there", "back"), **game)

    def stages(self):
        return [Stage("cycle", Player("there", self.there), Player("back", self.back))]

    def play(self, batch):
        made = self.networks["there"](batch["scan"])
        return {"made": made, "round": self.networks["back"](made)}

    def there(self, batch, played):
        return {"cycle": squared(played["round"] - batch["scan"]), "small": squared(played["made"])}

    def back(self, batch, played):
        return {"cycle": squared(played["round"] - batch["scan"])}


def test_players_that_share_a_forward_pass_both_see_the_networks_before_any_move():
    model, data = Cycle(), batch_of()
    there, back = (model.networks[name] for name in ("there", "back"))
    was = [w.copy() for w in (*there.get_weights(), *back.get_weights())]
    variables = [tf.constant(w) for w in was]
    scan = data["scan"][:, 0]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(variables)
        made = scan @ variables[0] + variables[1]
        round_trip = made @ variables[2] + variables[3]
        cycle = tf.reduce_mean(tf.square(round_trip - scan))
        first = cycle + tf.reduce_mean(tf.square(made))
    slopes = [*tape.gradient(first, variables[:2]), *tape.gradient(cycle, variables[2:])]
    model.train_step(data)
    for now, before, slope in zip(
        (*there.get_weights(), *back.get_weights()), was, slopes, strict=True
    ):
        np.testing.assert_allclose(now, before - 0.1 * slope, rtol=1e-4, atol=1e-6)


def test_one_player_may_own_several_networks():
    def stages(model):
        terms = lambda batch, played: {"sum": squared(played["a"]) + squared(played["b"])}  # noqa: E731
        return [Stage("joint", Player("both", terms, networks=("a", "b")))]

    model = Toy(names=("a", "b"), stage_list=stages)
    before = weights(model)
    model.train_step(batch_of())
    assert all(not np.array_equal(a, b) for a, b in zip(before, weights(model), strict=True))
    assert set(model.optimizers) == {"both"}


# Optimizers and precision --------------------------------------------------------------------


def test_optimizers_are_set_by_player_and_unknown_players_are_named():
    model = Duel(optimizers={"judge": {"kind": "rmsprop", "learning_rate": 0.5}})
    assert isinstance(model.optimizers["judge"], keras.optimizers.RMSprop)
    assert float(model.optimizers["judge"].learning_rate) == 0.5
    assert isinstance(model.optimizers["maker"], keras.optimizers.SGD)
    with pytest.raises(ValueError, match=r"optimizers name \['jugde'\]; the players are"):
        Duel(optimizers={"jugde": {"learning_rate": 0.5}})


@pytest.fixture
def _policy():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("_policy")
def test_float16_is_refused():
    keras.config.set_dtype_policy("mixed_float16")
    with pytest.raises(ValueError, match="needs loss scaling; use mixed_bfloat16 or float32"):
        Toy()


@pytest.mark.usefixtures("_policy")
def test_bfloat16_trains_on_float32_weights():
    keras.config.set_dtype_policy("mixed_bfloat16")
    from anogan.anogan import AnoGAN

    model = AnoGAN(
        (8, 8, 1),
        latent=4,
        width=2,
        adversary="wasserstein",
        critic_norm=None,
        term_weights={"critic/penalty": 10.0},
        encoding="izi_f",
    )
    array = np.random.default_rng(0).uniform(-1, 1, (8, 8, 8, 1)).astype("float32")
    losses = []

    data = feed(model, 4, scan=array)

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            losses.extend(np.ravel(list(logs.values())))

    before = weights(model)
    train(model, data, {"adversarial": 3, "encoder": 3}, every=1, callbacks=lambda: [Keep()])
    assert np.isfinite(losses).all()
    after = weights(model)
    assert all(np.isfinite(w).all() and w.dtype == np.float32 for w in after)
    assert any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    hidden = [layer.compute_dtype for layer in model.networks["generator"].layers]
    assert "bfloat16" in hidden


# Moving averages -----------------------------------------------------------------------------


def test_a_moving_average_is_tensorflow_addons():
    stored = np.load(PARITY / "moving_average.npz")
    decay = float(stored["decay"])
    model = Toy(averages={"fit": decay})
    kernel = model.networks["fit"].trainable_variables[0]
    average = model.averages["fit"].trainable_variables[0]
    # One pair of columns a call: the reference's variable is [3, 2], the toy's kernel [2, 2].
    for rows in (slice(0, 2), slice(1, 3)):
        average.assign(stored["start"][rows])
        for now, expected in zip(stored["weights"], stored["averages"], strict=True):
            kernel.assign(now[rows])
            model._update_averages()
            np.testing.assert_allclose(average, expected[rows], rtol=1e-5, atol=1e-6)


def test_an_average_starts_at_the_network_and_every_verb_uses_it():
    model = Duel(averages={"maker": 0.5}, updates=1)
    for a, b in zip(
        model.averages["maker"].get_weights(), model.networks["maker"].get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    before = model.networks["maker"].get_weights()[0]
    model.train_step(batch_of())
    after = model.networks["maker"].get_weights()[0]
    np.testing.assert_allclose(
        model.network("maker").get_weights()[0], (before + after) / 2, rtol=1e-5
    )
    assert model.network("judge") is model.networks["judge"]


class Normed(Toy):
    """A network with batch normalisation."""

    def build_networks(self):
        x = keras.Input((2,))
        y = keras.layers.BatchNormalization(momentum=0.5, center=False)(keras.layers.Dense(2)(x))
        return {"fit": keras.Model(x, y, name="fit")}

    def play(self, batch):
        return {"fit": self.networks["fit"](batch["scan"], training=True)}

    def fit_terms(self, batch, played):
        return {"square": squared(played["fit"] - 1.0)}


def test_statistics_of_batch_norm_are_copied_and_not_averaged_twice():
    model = Normed(averages={"fit": 0.9})
    model.train_step(batch_of())
    pairs = zip(
        model.networks["fit"].non_trainable_variables,
        model.averages["fit"].non_trainable_variables,
        strict=True,
    )
    for own, average in pairs:
        np.testing.assert_array_equal(own, average)
    assert np.abs(model.networks["fit"].non_trainable_variables[0].numpy()).max() > 0


# Stages --------------------------------------------------------------------------------------


class Staged(Toy):
    """Two stages, each with a player of its own."""

    def __init__(self, **game):
        super().__init__(names=("first", "second"), **game)

    def stages(self):
        return [
            Stage(name, Player(name, lambda b, p, name=name: {"square": squared(p[name])}))
            for name in ("first", "second")
        ]


class Watch(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.logs = []

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(logs)


def test_every_stage_is_compiled_anew_and_trains_its_own_players():
    model, watch = Staged(), Watch()
    start = weights(model)
    middle = []

    class AtSecond(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            if self.model.stage.name == "second":
                middle.append(weights(self.model))

    train(model, stream, {"first": 4, "second": 6}, every=2, callbacks=lambda: [watch, AtSecond()])
    assert [sorted(logs) for logs in watch.logs] == [["first/square"]] * 2 + [["second/square"]] * 3
    end = weights(model)
    assert not np.array_equal(start[0], middle[0][0])
    np.testing.assert_array_equal(start[2], middle[0][2])
    np.testing.assert_array_equal(middle[0][0], end[0])
    assert not np.array_equal(middle[0][2], end[2])
    assert int(model.step) == 10


def test_steps_are_rounded_up_to_whole_reports():
    model, watch = Staged(), Watch()
    train(model, stream, {"first": 3, "second": 1}, every=2, callbacks=lambda: [watch])
    assert len(watch.logs) == 3
    assert int(model.step) == 6


def test_a_stage_of_no_steps_is_left_out():
    model, watch = Staged(), Watch()
    before = weights(model)
    train(model, stream, {"first": 0, "second": 2}, every=1, callbacks=lambda: [watch])
    assert {key for logs in watch.logs for key in logs} == {"second/square"}
    np.testing.assert_array_equal(weights(model)[0], before[0])


def test_steps_name_the_stages():
    with pytest.raises(ValueError, match=r"given for \['first'\], the stages are"):
        train(Staged(), stream, {"first": 3})


def test_keras_still_asks_the_hook_that_the_game_overrides(monkeypatch):
    # `_maybe_symbolic_build` is private in Keras: a release that drops it would fail elsewhere.
    assert callable(keras.Model._maybe_symbolic_build)
    asked = []
    own = AdversarialModel._maybe_symbolic_build

    def watched(self, *args, **kwargs):
        asked.append(self)
        return own(self, *args, **kwargs)

    monkeypatch.setattr(AdversarialModel, "_maybe_symbolic_build", watched)
    model = Toy()
    train(model, stream, {"only": 1}, every=1)
    assert asked == [model]


# Stop and resume -----------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [2, 4, 6], ids=["in a stage", "between stages", "in the second"])
def test_a_resumed_game_is_the_unbroken_one_weight_for_weight(tmp_path, stop):
    from ganatomy.callbacks import Checkpoint

    steps = {"first": 4, "second": 6}
    adam = {name: {"kind": "adam", "learning_rate": 0.01} for name in steps}
    made = {"optimizers": adam, "averages": {"second": 0.9}}
    keras.utils.set_random_seed(2)
    whole = Staged(**made)
    train(whole, stream, steps, every=2)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if int(self.model.step) == stop:
                raise KeyboardInterrupt

    file = tmp_path / "checkpoint.weights.h5"
    keras.utils.set_random_seed(2)
    broken = Staged(**made)
    with pytest.raises(KeyboardInterrupt):
        train(broken, stream, steps, every=2, callbacks=lambda: [Checkpoint(file), Stop()])
    keras.utils.set_random_seed(77)  # whatever it is built with, the file decides
    resumed = Staged(**made)
    resumed.load_weights(file)
    assert int(resumed.step) == stop
    train(resumed, stream, steps, every=2)
    everything = [
        [*model.variables, *(v for o in model.optimizers.values() for v in o.variables)]
        for model in (whole, resumed)
    ]
    assert len(everything[0]) == 19
    for one, other in zip(*everything, strict=True):
        np.testing.assert_array_equal(one, other)


def test_noise_is_a_declaration():
    assert Toy(noise={"z": Noise("normal", (3,))}).noise == {"z": Noise("normal", (3,))}
