"""Models on one device and on two replicas, in a process of their own: how far apart they end.

    python -m tests.ganatomy.replicas_worker

Logical devices are set before TensorFlow starts, and a strategy lives as long as its process.
Reads names of cases and prints a line of JSON for each.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

# A dozen steps in all, shared between the stages.
SAMPLES, BATCH, STEPS, SEED = 22, 8, 12, 5
# Of images there and back rounding grows tenfold a step, and of one device as fast as of two.
KINKED = {"CycleGAN": 5, "MixedCycleGAN": 5, "ShapeCycleGAN": 4, "UNIT": 2}

# Two levels of the grid, so that a DCGAN's critic has a normalisation; a residual one has with one.
SIDE = {"dcgan": 16, "residual": 8}
# What has no choice of network, or another than the residual one by default.
DCGAN = {
    "AnoGAN",
    "GANomaly",
    "VarianceAutoencoder",
    "Pix2Pix",
    "Inpainting",
    "Blended",
    "CoarseToFine",
    "Coded",
    "GeneratedMasks",
    "MissingContrast",
    "CycleGAN",
    "MixedCycleGAN",
    "ShapeCycleGAN",
    "UnpairedGAN",
    "UNIT",
}
CHANNELS = {"MissingContrast": 3}
SMALL: dict[str, Any] = {"latent": 6, "width": 4}
AVERAGES = {"generator": 0.9, "encoder": 0.8}


def steep(*players: str, rate: Any = 1e-4) -> dict[str, Any]:
    """Optimizers that, unlike Adam, do not divide the size of a gradient away again; the rate is a
    number or a schedule.

    A wrong scale shows, and gradients that are rounding alone stay small.
    """
    return {name: {"kind": "sgd", "learning_rate": rate, "momentum": 0.9} for name in players}


# By case: a model that a preset names, and settings that reach every branch of it.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "pix2pix": (
        "synthesis.pix2pix:Pix2Pix",
        {
            "critic_width": 4,
            "critic_depth": 1,
            "cascade": 2,
            "averages": {"generator": 0.9},
            "term_weights": {"generator/features": 10.0, "generator/ssim": 1.0},
        },
    ),
    "cyclegan": (
        "synthesis.cyclegan:CycleGAN",
        {
            "generator_settings": {"blocks": 1},
            "critic_width": 4,
            "critic_depth": 1,
            "pool": 12,
            "term_weights": {"generator/regulation": 1.0},
            # Adam would divide gradients that are rounding alone by their own size.
            "optimizers": {
                "generator": {"kind": "sgd", "learning_rate": [[0, 1e-3], [2, 1e-3], [5, 0.0]]},
                "discriminator": {"kind": "sgd", "learning_rate": 1e-3},
            },
        },
    ),
    "unit": (
        "synthesis.unit:UNIT",
        {
            "blocks": 2,
            "critic_width": 4,
            "critic_depth": 1,
            "scales": 2,
            "averages": {"shared_encoder": 0.9},
            "term_weights": {"generator/regulation": 1.0},
            "optimizers": steep("generator", "discriminator"),
        },
    ),
    "mixed cycle": (
        "synthesis.mixed_cycle:MixedCycleGAN",
        {
            "generator_settings": {"blocks": 1},
            "critic_width": 4,
            "critic_depth": 1,
            "pool": 12,
            "optimizers": steep("generator", "discriminator"),
        },
    ),
    "shape cycle": (
        "synthesis.shape_cycle:ShapeCycleGAN",
        {
            "generator_settings": {"blocks": 1},
            "critic_width": 4,
            "critic_depth": 1,
            "pool": 12,
            "segmentor_width": 2,
            "segmentor_depth": 1,
            "term_weights": {"generator/shape_back": 1.0, "generator/masks": 1.0},
            "optimizers": steep("generator", "discriminator", "segmentor"),
        },
    ),
    "unpaired": (
        "synthesis.unpaired:UnpairedGAN",
        {
            "classes": 2,
            "classifier_width": 2,
            "labels": 1,
            "segmentor_width": 2,
            "generator_settings": {"blocks": 1},
            "critic_width": 4,
            "critic_depth": 1,
            "pool": 12,
            "averages": {"generator": 0.9},
            "optimizers": {
                **steep("discriminator", "classifier", "segmentor"),
                **steep("generator", rate=[[0, 1e-4], [6, 1e-4], [12, 0.0]]),
            },
        },
    ),
    "pix2pix penalty": (
        "synthesis.pix2pix:Pix2Pix",
        {
            "generator": "dense",
            "generator_settings": {"blocks": 1},
            "critic_width": 4,
            "critic_depth": 1,
            "scales": 2,
            "critic_norm": None,
            "adversary": "wasserstein",
            "term_weights": {"discriminator/penalty": 10.0},
        },
    ),
    "inpainting": (
        "synthesis.inpainting:Inpainting",
        {
            "hole": (6, 6),
            "critic_width": 4,
            "critic_depth": 1,
            "cascade": 2,
            "averages": {"generator": 0.9},
            "term_weights": {"generator/features": 10.0, "generator/ssim": 1.0},
        },
    ),
    "blended": (
        "synthesis.blended:Blended",
        {
            "critic_width": 4,
            "critic_depth": 1,
            "optimizers": steep("generator", "discriminator", "regressor"),
        },
    ),
    "coarse to fine": (
        "synthesis.coarse_to_fine:CoarseToFine",
        {
            "critic_width": 4,
            "critic_depth": 1,
            "optimizers": steep("generator", "discriminator", "coarse", "coarse_discriminator"),
        },
    ),
    "coded": (
        "synthesis.coded:Coded",
        {
            "encoder_width": 4,
            "critic_width": 4,
            "critic_depth": 1,
            "optimizers": steep("generator", "discriminator"),
        },
    ),
    "masks of an autoencoder": (
        "synthesis.generated_masks:GeneratedMasks",
        {
            "masks": "autoencoder",
            "mask_width": 4,
            "critic_width": 4,
            "critic_depth": 1,
            "optimizers": steep("generator", "discriminator", "masks", "mask_critic"),
        },
    ),
    "missing contrast": (
        "synthesis.missing_contrast:MissingContrast",
        {
            "critic_width": 4,
            "critic_depth": 1,
            "optimizers": steep("generator", "discriminator"),
        },
    ),
    "spade": (
        "synthesis.pix2pix:Pix2Pix",
        {
            "generator": "spade",
            "generator_settings": {"labels": 3, "hidden": 4, "norm": "batch"},
            "critic_width": 4,
            "critic_depth": 1,
            "spectral": True,
            "adversary": "hinge",
            "optimizers": steep("generator", "discriminator"),
        },
    ),
    "deformable": (
        "registration.deformable:Deformable",
        {
            "labels": 1,
            "critic_width": 4,
            "averages": {"generator": 0.9},
            "optimizers": steep("generator", "discriminator"),
        },
    ),
    "paired_deformable": (
        "registration.paired_deformable:PairedDeformable",
        {
            "shift": 2.0,
            "bending": 1.0,
            "critic_width": 4,
            "averages": {"generator": 0.9},
            "optimizers": steep("generator", "discriminator"),
        },
    ),
    "airnet": (
        "registration.airnet:AirNet",
        {
            "spacing": (2.0, 2.0),
            "motion": "affine",
            "reach": 4.0,
            "placing": 2.0,
            "bending": 1.0,
            "critic_width": 4,
            "averages": {"generator": 0.9},
            "optimizers": steep("generator", "discriminator"),
        },
    ),
    "motion": (
        "registration.motion:Motion",
        {
            "critic_width": 4,
            "motion_width": 4,
            "optimizers": steep("generator", "discriminator", "motion", "critic"),
        },
    ),
    "planted density": (
        "anogan.density:PlantedDensity",
        {"density": "neighbours", "memory": 8, "optimizers": steep("localiser")},
    ),
    "density of a critic": (
        "anogan.density:GANDensity",
        {
            "network": "dcgan",
            "layer": "block_2_out",
            "optimizers": steep("critic", "generator"),
        },
    ),
    "planted": ("anogan.planted:Planted", {"averages": {"localiser": 0.9}}),
    "anogan": ("anogan.anogan:AnoGAN", {"encoding": "izi"}),
    "anogan residual": (
        "anogan.anogan:AnoGAN",
        {"network": "residual", "encoding": "ziz", "averages": AVERAGES},
    ),
    "anogan saturating": ("anogan.anogan:AnoGAN", {"adversary": "saturating"}),
    "anogan least squares": ("anogan.anogan:AnoGAN", {"adversary": "least_squares"}),
    "anogan hinge": (
        "anogan.anogan:AnoGAN",
        {"adversary": "hinge", "network": "residual", "critic_updates": 2},
    ),
    "anogan clipped": (
        "anogan.anogan:AnoGAN",
        {
            "adversary": "wasserstein",
            "clip": 0.05,
            "encoding": "izi",
            "averages": AVERAGES,
            "critic_updates": 2,
            "critic_norm": None,
            "optimizers": {"critic": {"kind": "rmsprop", "learning_rate": 5e-4}},
        },
    ),
    "fanogan": (
        "anogan.fanogan:FAnoGAN",
        {"critic_updates": 3, "averages": AVERAGES, "encoding": "izi_f"},
    ),
    "vagan": (
        "anogan.vagan:VAGAN",
        {"critic_updates": 1, "averages": {"map": 0.9}, "optimizers": steep("critic", "map")},
    ),
    "patch posterior": (
        "anogan.patch_posterior:PatchPosterior",
        {
            "patch": 7,
            "patches": 2,
            "spectral": True,
            "optimizers": steep("critic", "generator", rate=1e-3),
        },
    ),
    "bigan": (
        "anogan.bigan:BiGAN",
        {
            "network": "dcgan",
            "critic_updates": 2,
            "averages": AVERAGES,
            "optimizers": steep("critic", "generator"),
        },
    ),
    "ali penalty": (
        "anogan.bigan:BiGAN",
        {
            "network": "dcgan",
            "stochastic": True,
            "adversary": "wasserstein",
            "critic_norm": None,
            "term_weights": {"critic/penalty": 10.0},
        },
    ),
    "ganomaly": (
        "anogan.ganomaly:GANomaly",
        {
            "features": 2,
            "averages": {"decoder": 0.9},
            "optimizers": steep("critic", "generator"),
        },
    ),
    "variance autoencoder": (
        "anogan.variance_autoencoder:VarianceAutoencoder",
        {"optimizers": steep("autoencoder")},
    ),
    "caae": (
        "anogan.aae:AdversarialAutoencoder",
        {
            "network": "dcgan",
            "norm": "batch",
            "critic_updates": 3,
            "averages": {"encoder": 0.8, "decoder": 0.9},
            "term_weights": {"autoencoder/constraint": 0.5},
        },
    ),
    "aae residual": (
        "anogan.aae:AdversarialAutoencoder",
        {
            "network": "residual",
            "critic_updates": 1,
            "optimizers": steep("critic", "autoencoder", "encoder"),
        },
    ),
    "vae": ("anogan.vae:VAE", {"network": "dcgan", "norm": "batch", "deviation": 1.0}),
    "vaegan": (
        "anogan.vaegan:VAEGAN",
        {
            "network": "dcgan",
            "norm": "batch",
            "critic_norm": "batch",
            "features": 1,
            # RMSprop divides a gradient that is rounding alone by its own size.
            "optimizers": {name: {"epsilon": 1e-3} for name in ("encoder", "decoder")},
        },
    ),
    "vaegan residual": (
        "anogan.vaegan:VAEGAN",
        {"network": "residual", "adversary": "nonsaturating"},
    ),
    "fanogan 1": ("anogan.fanogan:FAnoGAN", {"critic_updates": 1, "encoding": "ziz"}),
    "fanogan dcgan": (
        "anogan.fanogan:FAnoGAN",
        {"network": "dcgan", "critic_updates": 3, "encoding": "izi"},
    ),
}


def play(case: str, strategy: Any) -> tuple[list[list[np.ndarray]], list[dict], float]:
    """Copies of all variables on every replica, the losses of every step, and the largest move."""
    import importlib

    import keras

    from ganatomy.batches import Augment, batches
    from ganatomy.registry import settings_of
    from ganatomy.training import train

    path, settings = CASES[case]
    module, _, name = path.partition(":")
    kind = getattr(importlib.import_module(module), name)
    network = settings.get("network", "dcgan" if name in DCGAN else "residual")
    shape = (SIDE[network], SIDE[network], CHANNELS.get(name, 1))
    with strategy.scope():
        keras.utils.set_random_seed(SEED)
        small = {key: value for key, value in SMALL.items() if key in settings_of(kind)}
        model = kind(shape=shape, **small, **settings)
    began = [np.array(v) for v in model.trainable_variables]
    # Roles of no row have another number of samples.
    draw, counts = np.random.default_rng(0), range(SAMPLES, SAMPLES + 3 * len(model.roles), 3)
    arrays = {}
    for (role, how), count in zip(model.roles.items(), counts, strict=True):
        if how in model.roles:  # labels, one with each of their scans
            arrays[role] = draw.integers(0, 2, arrays[how].shape).astype("float32")
        else:
            many = SAMPLES if how == "joined" else count
            arrays[role] = draw.uniform(-1, 1, (many, *shape)).astype("float32")
    losses: list[dict] = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            losses.append({key: float(np.mean(value)) for key, value in logs.items()})

    def data(first, end, updates, noise):
        return batches(
            arrays,
            noise,
            roles=model.roles,
            batch_size=BATCH,
            updates=updates,
            first_step=first,
            steps=end,
            seed=SEED,
            augment=Augment(shift=0.05, flip=(1,)),
        )

    shared = KINKED.get(name, STEPS) // len(model.stage_list)
    steps = {stage.name: shared for stage in model.stage_list}
    train(model, data, steps, every=1, callbacks=lambda: [Keep()], strategy=strategy)
    everything = list(model.variables)
    for optimizer in model.optimizers.values():
        everything += optimizer.variables
    copies = [
        [np.array(copy) for copy in strategy.experimental_local_results(v.value)]
        for v in everything
    ]
    ended = [np.array(v) for v in model.trainable_variables]
    moved = max(float(np.abs(a - b).max()) for a, b in zip(began, ended, strict=True))
    return copies, losses, moved


def two_replicas() -> Any:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
    )
    # Replicas and players are the question here, not what a graph is rewritten to.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def compare(case: str, two: Any) -> dict[str, Any]:
    import tensorflow as tf

    one_copies, one_losses, moved = play(case, tf.distribute.get_strategy())
    two_copies, two_losses, _ = play(case, two)
    # Squares of gradients, which Adam keeps, and losses may be large: their rounding is as well.
    gaps = [
        float(np.abs(a[0] - b[0]).max() / max(1.0, np.abs(a[0]).max()))
        for a, b in zip(one_copies, two_copies, strict=True)
    ]
    return {
        "replicas": two.num_replicas_in_sync,
        "variables": len(gaps),
        "moved": moved,
        "weight": max(gaps),
        "terms": [sorted(losses) for losses in one_losses] == [sorted(x) for x in two_losses],
        "steps": len(two_losses),
        "loss": max(
            abs(a[key] - b[key]) / max(1.0, abs(a[key]))
            for a, b in zip(one_losses, two_losses, strict=True)
            for key in a
        ),
        "copies": max(float(np.abs(c[0] - c[1]).max()) for c in two_copies),
        "mirrored": sum(len(c) == 2 for c in two_copies),
    }


def forget() -> None:
    """Graphs of a case take 200 MB, which the next ones do not need."""
    import gc

    import keras

    keras.backend.clear_session()
    gc.collect()


if __name__ == "__main__":
    strategy = two_replicas()
    for line in sys.stdin:
        print(json.dumps(compare(line.strip(), strategy)), flush=True)
        forget()
