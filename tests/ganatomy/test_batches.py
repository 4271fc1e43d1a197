"""Batches are functions of (seed, step, place): nothing else decides what a step sees."""

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from ganatomy import batches as module
from ganatomy.batches import Augment, batches
from ganatomy.game import Noise
from ganatomy.tables import TableError

NOISE = {"z": Noise("normal", (3,)), "y": Noise("normal", (3,)), "mix": Noise("uniform")}


def numbered(count=10):
    """Samples that say which they are."""
    return np.arange(count, dtype="float32").reshape(count, 1, 1, 1) * np.ones((1, 4, 4, 1))


def play(first=0, end=6, *, arrays=None, roles=None, size=4, updates=1, seed=3, **more):
    arrays = arrays or {"scan": numbered()}
    roles = roles or dict.fromkeys(arrays, "joined")
    data = batches(
        arrays,
        more.pop("noise", NOISE),
        roles=roles,
        batch_size=size,
        updates=updates,
        first_step=first,
        steps=end,
        seed=seed,
        **more,
    )
    return [{name: np.array(value) for name, value in batch.items()} for batch in data]


def order(steps, role="scan"):
    return np.concatenate([step[role][..., 0, 0, 0].ravel() for step in steps]).astype(int)


@pytest.mark.parametrize("augment", [None, Augment(shift=0.1, flip=(0,), gain=0.2)])
def test_a_resumed_run_sees_what_an_unbroken_one_would(augment):
    whole, rest = play(0, 8, augment=augment), play(5, 8, augment=augment)
    for one, other in zip(whole[5:], rest, strict=True):
        assert set(one) == set(other) == {"scan", "z", "y", "mix"}
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_every_sample_is_seen_once_an_epoch():
    seen = order(play(0, 10))  # 40 places, 10 samples: four epochs
    epochs = seen.reshape(4, 10)
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))
    assert len({tuple(epoch) for epoch in epochs}) == 4


@pytest.mark.parametrize("count", [4, 7, 33])
def test_an_epoch_is_a_permutation_for_any_number_of_samples(count):
    seen = order(play(0, count, arrays={"scan": numbered(count)}))
    assert sorted(seen[:count]) == list(range(count))


def test_several_updates_take_fresh_samples_and_noise():
    (step,) = play(0, 1, size=2, updates=3, noise={"z": Noise("normal", (2,))})
    assert step["scan"].shape == (2, 3, 4, 4, 1)
    assert step["z"].shape == (2, 3, 2)
    assert len(set(order([step]))) == 6
    assert len(np.unique(step["z"])) == 12


def test_a_sample_drawn_as_noise_comes_from_an_order_of_its_own():
    noise = {"donor": Noise("sample"), "mix": Noise("uniform")}
    augment = Augment(gain=0.2)
    arrays = {"scan": numbered(), "label": numbered()[:, 0, 0]}
    roles = {"scan": "joined", "label": "joined"}
    steps = play(0, 10, arrays={"scan": numbered()}, noise=noise, updates=2)
    drawn = order(steps, "donor")
    assert steps[0]["donor"].shape == steps[0]["scan"].shape == (4, 2, 4, 4, 1)
    assert sorted(drawn[:10]) == list(range(10))
    assert (drawn != order(steps)).mean() > 0.7
    # It is of the first role, and other noise is what it would be without it.
    beside = play(0, 10, arrays=arrays, roles=roles, noise=noise, updates=2)
    np.testing.assert_array_equal(order(beside, "donor"), drawn)
    rest = play(5, 10, arrays=arrays, roles=roles, noise=noise, updates=2)
    np.testing.assert_array_equal(order(rest, "donor"), drawn[5 * 8 :])
    samples = {"scan": np.linspace(-1, 1, 8 * 4 * 4).reshape(8, 4, 4, 1)}
    plain, moved = (play(0, 1, arrays=samples, noise=noise, augment=a)[0] for a in (None, augment))
    np.testing.assert_array_equal(plain["mix"], moved["mix"])
    for role in ("scan", "donor"):
        assert np.abs(moved[role] - plain[role]).max() > 0.01


def test_another_seed_is_another_order_and_noise():
    one, other = play(seed=1), play(seed=2)
    assert order(one).tolist() != order(other).tolist()
    assert not np.array_equal(one[0]["z"], other[0]["z"])


def test_noise_streams_differ_from_each_other_and_from_step_to_step():
    drawn = [step[name] for step in play(0, 4) for name in ("z", "y")]
    assert len({array.tobytes() for array in drawn}) == 8


def test_neighbouring_seeds_share_no_stream():
    # A stream's number is folded into the seed; it must not fold onto the next seed's streams.
    steps = [play(0, 1, seed=seed)[0] for seed in range(4)]
    drawn = [step[name].tobytes() for step in steps for name in ("z", "y")]
    assert len(set(drawn)) == len(drawn)


def test_augmentation_and_noise_share_no_stream(monkeypatch):
    # Streams below STREAMS that differ have keys that differ, whatever the seed.
    streams = []
    real = module.stream_key

    def keep(seed, stream, step):
        streams.append(stream)
        return real(seed, stream, step)

    monkeypatch.setattr(module, "stream_key", keep)
    play(0, 1, seed=0, augment=ALL)
    assert len(streams) == len(NOISE) + 5 + 2 + 2  # moved, mirrored, gain and bias
    assert len(set(streams)) == len(streams)
    assert 0 < min(streams) <= max(streams) < module.STREAMS
    keys = {
        tuple(real(tf.constant(seed, tf.int64), stream, tf.constant(7, tf.int64)).numpy())
        for seed in range(4)
        for stream in streams
    }
    assert len(keys) == 4 * len(streams)


def test_noise_has_its_distribution():
    steps = play(0, 200, size=10)
    normal = np.concatenate([step["z"].ravel() for step in steps])
    uniform = np.concatenate([step["mix"].ravel() for step in steps])
    assert abs(normal.mean()) < 0.05
    assert abs(normal.std() - 1) < 0.05
    assert 0 <= uniform.min() < 0.01
    assert 0.99 < uniform.max() < 1


def test_joined_roles_share_an_order_and_others_do_not():
    arrays = {"scan": numbered(), "target": numbered(), "style": numbered(12)}
    roles = {"scan": "joined", "target": "joined", "style": "independent"}
    steps = play(0, 10, arrays=arrays, roles=roles)
    assert order(steps).tolist() == order(steps, "target").tolist()
    assert order(steps).tolist() != order(steps, "style").tolist()
    assert sorted(order(steps, "style")[:12]) == list(range(12))


def test_fewer_samples_than_a_batch_is_an_error_that_says_what_to_do():
    with pytest.raises(TableError, match=r"3 samples of scan are fewer than one batch of 4.*=3"):
        play(arrays={"scan": numbered(3)})


def test_a_memory_map_is_enough(tmp_path):
    np.save(tmp_path / "a.npy", numbered())
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert order(play(arrays={"scan": mapped})).tolist() == order(play()).tolist()


# Augmentation ------------------------------------------------------------------------------


def pictures(count=6, side=9):
    """Smooth pictures in [-1, 1]; a border that is not empty, a peak in the middle."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    peak = np.exp(-(x**2 + y**2) / 6).astype("float32")
    scale = np.linspace(0.5, 1, count, dtype="float32")
    return (scale[:, None, None] * peak - 0.4)[..., None] * 1.2


ALL = Augment(shift=0.2, scale=0.2, rotate=30, flip=(0, 1), gain=0.5, bias=0.4)


def changed(augment, images, step=0, seed=5):
    return augment({"scan": tf.constant(images)}, tf.constant([seed, step], tf.int64))[
        "scan"
    ].numpy()


def test_augmentation_keeps_the_range_and_shape():
    for step in range(20):
        images = changed(ALL, pictures(), step)
        assert images.shape == pictures().shape
        assert images.min() >= -1
        assert images.max() <= 1


def test_augmentation_is_a_function_of_seed_and_step():
    first = changed(ALL, pictures())
    np.testing.assert_array_equal(first, changed(ALL, pictures()))
    assert not np.array_equal(first, changed(ALL, pictures(), step=1))
    assert not np.array_equal(first, changed(ALL, pictures(), seed=6))
    # and each sample's own: equal pictures come out different
    equal = changed(ALL, np.repeat(pictures()[:1], 6, axis=0))
    assert len({image.tobytes() for image in equal}) == 6


def test_joined_roles_are_moved_alike():
    both = ALL(
        {"scan": tf.constant(pictures()), "mask": tf.constant(pictures())},
        tf.constant([1, 2], tf.int64),
    )
    np.testing.assert_array_equal(both["scan"], both["mask"])


def test_the_centre_stays_where_nothing_is_shifted():
    turned = changed(Augment(scale=0.2, rotate=30), pictures())
    np.testing.assert_allclose(turned[:, 4, 4], pictures()[:, 4, 4], atol=1e-5)
    assert np.abs(turned - pictures()).max() > 0.05


def test_a_flip_mirrors_about_half_of_the_samples_exactly():
    images = np.random.default_rng(0).uniform(-1, 1, (400, 4, 5, 1)).astype("float32")
    out = changed(Augment(flip=(1,)), images)
    mirrored = (out == images[:, :, ::-1]).all((1, 2, 3))
    same = (out == images).all((1, 2, 3))
    assert (mirrored | same).all()
    assert 150 < mirrored.sum() < 250


def test_shifts_are_as_far_as_stated():
    images = np.full((300, 21, 21, 1), -1.0, "float32")
    images[:, 10, 10] = 1.0
    out = changed(Augment(shift=0.2), images) + 1
    mass = out[..., 0].sum((1, 2))
    at = (out[..., 0] * np.arange(21)[:, None]).sum((1, 2)) / mass - 10
    assert np.abs(at).max() <= 0.2 * 21 + 1e-3
    assert np.abs(at).max() > 0.17 * 21
    assert abs(at.mean()) < 0.5


def test_volumes_are_mirrored_and_change_in_intensity_but_are_not_moved():
    volumes = np.random.default_rng(0).uniform(-1, 1, (8, 4, 4, 4, 1)).astype("float32")
    out = changed(Augment(flip=(0, 2), gain=0.1), volumes)
    assert out.shape == volumes.shape
    assert not np.array_equal(out, volumes)
    with pytest.raises(ValueError, match="volumes take flip, gain, bias"):
        changed(Augment(shift=0.1), volumes)


def test_augmentation_knows_its_settings():
    assert not Augment().active
    assert Augment(flip=(1,)).active
    with pytest.raises(ValidationError):
        Augment(**{"zoom": 1})
    with pytest.raises(ValidationError):
        Augment(shift=0.9)
