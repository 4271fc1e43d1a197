"""A game: players that minimise their terms, in one or more stages.

Every adversarial model is an `AdversarialModel`. It says which networks there are, who
plays in which stage and what each player minimises; this file does the rest of a training
step: one shared forward pass, averaging over the global batch, differentiation by each
player's own variables, updates, moving averages and logs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import ops

from ganatomy.errors import WrongUse
from ganatomy.objectives import clip_weights
from ganatomy.schedules import LinearRate, as_schedule, linear

Tensor = Any
Terms = Mapping[str, Any]
Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Noise:
    """Random numbers that a game draws for every sample, in the data and not in the graph.

    keras.random gives every replica the same numbers; noise that comes with the batch is
    a function of (seed, step, sample) and the same for any number of replicas.

    Args:
        kind: "normal" (mean 0, standard deviation 1), "uniform" (on [0, 1)), or "sample": another
            training sample of the first role, from an order of its own, augmented as its partner.
        shape: the shape of one sample's noise; () is one number. A "sample" has the sample's.
    """

    kind: str
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Player:
    """Minimises the weighted sum of its terms over the variables of its networks.

    Args:
        name: under which terms are weighed and logged (`name/term`) and whose optimizer it is.
        terms: `terms(batch, played) -> {term: value}`, one value a sample [B]. A term may be a
            function of no arguments; it is not called where its weight is 0.
        networks: the networks it may change; its own name where none are given.
    """

    name: str
    terms: Callable[[Batch, Any], Terms]
    networks: tuple[str, ...] = ()

    @property
    def owns(self) -> tuple[str, ...]:
        return self.networks or (self.name,)


@dataclass(frozen=True)
class Critic(Player):
    """A player that judges what was played: it gets it with gradients stopped, and moves first.

    Args:
        updates: how often it moves in one step, each time on fresh samples and noise.
        clip: after each move its weights are clipped to [-clip, clip] (Arjovsky 2017).
    """

    updates: int = 1
    clip: float | None = None


class Stage:
    """One phase of training: critics first, then the players, in order of update.

    Args:
        name: what `steps` of a preset calls it.
        players: `Critic`s, then `Player`s.
        play: the shared forward pass, `play(batch) -> anything`; the model's `play` by default.
    """

    def __init__(self, name: str, *players: Player, play: Callable[[Batch], Any] | None = None):
        self.name = name
        self.players = players
        self.critics = [p for p in players if isinstance(p, Critic)]
        self.rest = [p for p in players if not isinstance(p, Critic)]
        if list(players) != self.critics + self.rest:
            raise ValueError(f"stage {name}: critics come before the other players")
        self.play = play
        self.names = {player.name for player in players}
        self.updates = max([c.updates for c in self.critics], default=1)


class AdversarialModel(keras.Model):
    """Base of every adversarial network here.

    A subclass stores its settings, then calls `assemble()`, and defines `build_networks`,
    `stages`, `play` and the terms of its players.

    Args:
        term_weights: weight by `player/term`, over the class's `default_weights`: a number, or
            `[[step, weight], ...]` with rising steps, between which it is linear. At 0 the term is
            not computed.
        optimizers: by player, settings over `default_optimizer`; `kind` is a Keras optimizer's
            name, Adam where it is not given; `learning_rate` a number, or `[[update, rate], ...]`
            between which it is linear.
        averages: by network, the decay of an exponential moving average of its weights; every
            verb then uses the averaged network.

    Raises:
        ValueError: a weight that is neither a number nor a schedule.
    """

    # By role its kind, see `ganatomy.roles`; a role may be prepared on the grid of another's scans.
    roles: ClassVar[dict[str, str]] = {"scan": "joined"}
    grids: ClassVar[dict[str, str]] = {}
    task: ClassVar[str]
    # The highest number that it learns of roles of labels; 0 where they may hold any.
    labels: int = 0
    default_weights: ClassVar[dict[str, Any]] = {}
    # Radford 2016, section 3; a model with other needs says so.
    default_optimizer: ClassVar[dict[str, float]] = {
        "learning_rate": 2e-4,
        "beta_1": 0.5,
        "beta_2": 0.999,
    }

    def __init__(
        self,
        *,
        term_weights: Mapping[str, Any] | None = None,
        optimizers: Mapping[str, Mapping[str, float]] | None = None,
        averages: Mapping[str, float] | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if keras.config.dtype_policy().name == "mixed_float16":
            raise ValueError("mixed_float16 needs loss scaling; use mixed_bfloat16 or float32")
        self._asked = set(term_weights or {})
        self._term_weights: dict[str, Any] = {}
        for term, weight in {**self.default_weights, **(term_weights or {})}.items():
            try:
                self._term_weights[term] = as_schedule(weight)
            except ValueError as error:
                raise ValueError(f"the weight of {term}: {error}") from error
        # The terms met so far, by player and stage: they are known once a stage is traced.
        self._met: dict[str, dict[str, set[str]]] = {}
        self._optimizer_settings = dict(optimizers or {})
        self._decays = dict(averages or {})

    # What a model defines ------------------------------------------------------------------

    @property
    def noise(self) -> dict[str, Noise]:
        """The noise that a batch carries beside its roles."""
        return {}

    def build_networks(self) -> dict[str, keras.Model]:
        raise NotImplementedError

    def stages(self) -> list[Stage]:
        raise NotImplementedError

    def play(self, batch: Batch) -> Any:
        raise NotImplementedError

    def pictures(self, samples: Any) -> dict[str, Any]:
        """Pictures [H, W] in [-1, 1] of how training goes, by name; `samples` [n, *size, c]."""
        return {}

    def solve(self, samples: Any) -> None:
        """Fit in closed form what no stage trains, on the training samples [n, *size, c] of the
        first role; called once, after the last stage.
        """

    # What the core does --------------------------------------------------------------------

    def assemble(self) -> None:
        """Build networks, moving averages and optimizers, inside the scope of a strategy.

        All are made here and kept in dicts on the model, which is what Keras saves; an
        optimizer built later would differ between replicas without an error.
        """
        self.networks = self.build_networks()
        self.averages = {
            name: keras.models.clone_model(self.networks[name]) for name in self._decays
        }
        for name, average in self.averages.items():
            average.set_weights(self.networks[name].get_weights())
        self.stage_list = tuple(self.stages())
        players = {p.name: p for stage in self.stage_list for p in stage.players}
        strangers = {t for t in self._asked if t.partition("/")[0] not in players}
        if strangers:
            raise ValueError(
                f"term_weights names {sorted(strangers)}; the players are {sorted(players)}"
            )
        unknown = set(self._optimizer_settings) - set(players)
        if unknown:
            raise ValueError(
                f"optimizers name {sorted(unknown)}; the players are {sorted(players)}"
            )
        self.optimizers = {}
        for player in players.values():
            own = self._optimizer_settings.get(player.name, {})
            settings: dict[str, Any] = {**self.default_optimizer, **own}
            kind = settings.pop("kind", "adam")
            if kind != "adam":  # other optimizers have no betas to take over
                settings = {k: v for k, v in settings.items() if not k.startswith("beta_")}
            if isinstance(settings["learning_rate"], (list, tuple)):
                settings["learning_rate"] = LinearRate(settings["learning_rate"])
            optimizer: Any = keras.optimizers.get({"class_name": kind, "config": settings})
            optimizer.build(self.variables_of(player))
            self.optimizers[player.name] = optimizer
        self.step = self.add_weight(
            name="step",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        # A model without stages is fitted in closed form and never trained.
        self.stage: Stage = self.stage_list[0] if self.stage_list else Stage("none")
        self.built = True

    def variables_of(self, player: Player) -> list:
        return [v for name in player.owns for v in self.networks[name].trainable_variables]

    def network(self, name: str) -> keras.Model:
        """The network to use after training: its moving average where there is one."""
        return self.averages.get(name, self.networks[name])

    def enter(self, stage: Stage, *, jit_compile: bool = False) -> None:
        """Make `stage` the one that the next `fit` trains.

        The step is compiled anew: a stage changed without that would train the old one.
        """
        self.stage = stage
        compile_: Any = self.compile  # the signature leaves out what the docstring allows
        compile_(optimizer=None, jit_compile=jit_compile)

    def _maybe_symbolic_build(self, *args, **kwargs):
        # All is built in `assemble`; Keras's own attempt fails on dict batches under
        # MultiWorkerMirroredStrategy. Private in Keras, so a test holds it.
        return

    def weight(self, term: str) -> Any:
        """The weight of `player/term` at this step: a number, or a tensor for a schedule."""
        weight = self._term_weights.get(term, 1.0)
        if not isinstance(weight, (list, tuple)):
            return float(weight)
        return linear(weight, self.step)

    def loss_of(self, player: Player, batch: Batch, played: Any) -> tuple[Tensor, dict]:
        """A player's loss (this replica's share of the global mean) and its terms' local means."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        total = tf.constant(0.0)
        logs = {}
        terms = player.terms(batch, played)
        self._check_weights(player, set(terms))
        for name, value in terms.items():
            weight = self.weight(f"{player.name}/{name}")
            if isinstance(weight, float) and weight == 0.0:
                continue
            each: Any = ops.cast(value() if callable(value) else value, "float32")
            if each.shape.rank != 1:
                raise ValueError(
                    f"term {player.name}/{name} has shape {each.shape}; one value a sample is due"
                )
            mean = tf.reduce_mean(each)
            # Replicas have equal shares of the batch, and gradients are summed over them.
            total += weight * mean / replicas
            logs[f"{player.name}/{name}"] = tf.reshape(mean, [1])
        return total, logs

    def _check_weights(self, player: Player, terms: set[str]) -> None:
        """Refuse a weight of a term that the player has in no stage."""
        self._met.setdefault(player.name, {})[self.stage.name] = terms
        met = self._met[player.name]
        if any(player.name in stage.names and stage.name not in met for stage in self.stage_list):
            return
        known = {f"{player.name}/{term}" for terms in met.values() for term in terms}
        asked = {term for term in self._asked if term.partition("/")[0] == player.name}
        if asked - known:
            raise WrongUse(
                f"term_weights names {sorted(asked - known)}; "
                f"the terms of {player.name} are {sorted(known)}"
            )

    def train_step(self, data: Batch) -> dict[str, Tensor]:
        """One step of the current stage.

        Args:
            data: by role or noise, [B, updates, ...]: sample first, update second, so that a
                split between replicas leaves every update the same samples.
        """
        stage = self.stage
        play = stage.play or self.play
        logs: dict[str, Tensor] = {}
        last = stage.updates - 1
        for update in range(last):
            batch = {name: array[:, update] for name, array in data.items()}
            played = tf.nest.map_structure(tf.stop_gradient, play(batch))
            for critic in stage.critics:
                if critic.updates > last - update:
                    logs |= self._move_critic(critic, batch, played)

        batch = {name: array[:, last] for name, array in data.items()}
        with tf.GradientTape(persistent=len(stage.rest) > 1) as tape:
            played = play(batch)
            with tape.stop_recording():
                for critic in stage.critics:
                    stopped = tf.nest.map_structure(tf.stop_gradient, played)
                    logs |= self._move_critic(critic, batch, stopped)
            losses = []
            for player in stage.rest:
                loss, terms = self.loss_of(player, batch, played)
                losses.append(loss)
                logs |= terms
        # All gradients before any update: players that share `play` saw the same networks.
        moves = [
            (player, tape.gradient(loss, self.variables_of(player)))
            for player, loss in zip(stage.rest, losses, strict=True)
        ]
        for player, gradients in moves:
            self._apply(player, gradients)
        self._update_averages()
        self.step.assign_add(1)
        return logs

    def _move_critic(self, critic: Critic, batch: Batch, played: Any) -> dict[str, Tensor]:
        with tf.GradientTape() as tape:
            loss, logs = self.loss_of(critic, batch, played)
        self._apply(critic, tape.gradient(loss, self.variables_of(critic)))
        if critic.clip is not None:
            for name in critic.owns:
                clip_weights(self.networks[name], critic.clip)
        return logs

    def _apply(self, player: Player, gradients: list) -> None:
        variables = self.variables_of(player)
        missing = [v.path for v, g in zip(variables, gradients, strict=True) if g is None]
        if len(missing) == len(variables):
            raise ValueError(f"player {player.name}: no term depends on {', '.join(player.owns)}")
        gradients = [
            tf.zeros_like(v.value) if g is None else g
            for v, g in zip(variables, gradients, strict=True)
        ]
        self.optimizers[player.name].apply(gradients, variables)

    def _update_averages(self) -> None:
        moved = {name for player in self.stage.players for name in player.owns}
        for name, decay in self._decays.items():
            if name not in moved:
                continue
            network, average = self.networks[name], self.averages[name]
            for now, mean in zip(network.weights, average.weights, strict=True):
                # Statistics of batch norm are averages already; integers are counters.
                decays = now.trainable and keras.backend.is_float_dtype(now.dtype)
                mean.assign(decay * mean + (1.0 - decay) * now if decays else now)
