"""The loss of sharpness in a translation: its network, shipped or the user's own."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from PIL import Image

from ganatomy.artifacts import build_model
from ganatomy.errors import WrongUse
from ganatomy.networks.sharpness import WEIGHTS, sharpness_network
from ganatomy.registry import preset
from ganatomy.training import train
from synthesis.sharpness_training import main
from tests.feeding import feed

SMALL = ["width=2", "critic_width=2", "critic_depth=1"]
SHAPE = (16, 12, 1)


def weighing(*settings):
    """A small model with the loss, as the command line sets it."""
    return build_model(preset("t1-to-t2").set([*SMALL, "loss.sharpness=10", *settings]), SHAPE, 0)


def test_its_network_is_weighed_and_never_trained():
    model = weighing()
    draw = np.random.default_rng(0)
    batch = {role: draw.uniform(-1, 1, (2, *SHAPE)).astype("float32") for role in model.roles}
    assert model.weight("generator/sharpness") == 10.0
    term = model.image_terms(batch["scan"], batch)["sharpness"]
    network = sharpness_network(WEIGHTS)
    maps = [np.asarray(network(batch[role])) for role in ("scan", "target")]
    np.testing.assert_allclose(term(), np.mean((maps[0] - maps[1]) ** 2, (1, 2, 3)), rtol=1e-4)
    train(model, feed(model, 2, **batch), {"adversarial": 1}, every=1)
    for own, shipped in zip(model.sharpness_network.weights, network.weights, strict=True):
        np.testing.assert_array_equal(own, shipped)
    assert build_model(preset("t1-to-t2").set(SMALL), SHAPE, 0).sharpness_network is None
    with pytest.raises(WrongUse, match="sharpness compares with an aligned target"):
        build_model(preset("t1-to-t2-cycle").set(["loss.sharpness=10"]), SHAPE, 0)


def test_training_reads_the_users_own_weights(tmp_path):
    file = tmp_path / "mine.weights.h5"
    mine = sharpness_network()
    mine.save_weights(file)
    model = weighing(f"sharpness_weights={file}")
    batch = {role: np.zeros((2, *SHAPE), "float32") for role in model.roles}
    train(model, feed(model, 2, **batch), {"adversarial": 1}, every=1)
    np.testing.assert_array_equal(model.sharpness_network.weights[0], mine.weights[0])
    # A trained model needs the file no more.
    file.unlink()
    gone = weighing(f"sharpness_weights={file}")
    assert gone.translate(batch["scan"]).shape == (2, *SHAPE)
    with pytest.raises(WrongUse, match=r"weights of the sharpness network are not at .*mine"):
        train(gone, feed(gone, 2, **batch), {"adversarial": 1}, every=1)


def test_weights_are_trained_on_the_users_scans(tmp_path, capsys):
    draw = np.random.default_rng(0)
    for number in range(21):
        picture = draw.integers(0, 256, (40, 30), np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{number:02d}.png")
    out = tmp_path / "mine.weights.h5"
    keras.utils.set_random_seed(0)
    main(["--data", str(tmp_path), "--out", str(out), "--steps", "2", "--preset", "t1-to-t2"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["validation"] == 5
    assert sharpness_network(out).trainable_variables == []
    (tmp_path / "20.png").unlink()
    (tmp_path / "19.png").unlink()
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path), "--out", str(out), "--steps", "2"])
    assert "expected 16 or more" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path), "--out", str(tmp_path / "mine.pkl")])
    assert "ends in .weights.h5" in capsys.readouterr().err
