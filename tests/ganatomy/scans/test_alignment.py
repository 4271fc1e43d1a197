"""Scans are moved onto the healthy mean, and maps come back from there."""

import numpy as np
import pytest

from ganatomy.scans import Preprocessing, Scan, alignment
from tests.ganatomy.scans.test_preprocessing import OBLIQUE, blob, centroid, returned


def figure(shape, shift=(0.0, 0.0), grow=(1.0, 1.0)) -> np.ndarray:
    """Two lungs and a heart, moved by fractions of the side and grown about the centre."""
    rows, columns = np.meshgrid(*[(np.arange(n) + 0.5) / n - 0.5 for n in shape], indexing="ij")
    rows, columns = (rows - shift[0]) / grow[0], (columns - shift[1]) / grow[1]
    out = np.zeros(shape)
    for row, column, tall, wide, value in [
        (0.0, -0.17, 0.25, 0.11, 1.0),
        (0.0, 0.17, 0.25, 0.11, 1.0),
        (0.12, 0.05, 0.12, 0.12, 0.6),
    ]:
        out += value / (
            1 + np.exp(20 * (np.hypot((rows - row) / tall, (columns - column) / wide) - 1))
        )
    return out.astype(np.float32)


@pytest.mark.parametrize("shift", [(0.08, -0.05), (-0.1, 0.1), (0.0, 0.0)])
@pytest.mark.parametrize("grow", [(1.0, 1.0), (1.1, 0.92)])
def test_shift_and_scale_are_found(shift, grow):
    template = alignment.search_image(figure((64, 64)))
    found = alignment.align(alignment.search_image(figure((64, 64), shift, grow)), template)
    np.testing.assert_allclose(found[:2], shift, atol=0.01)
    # the cost of large parameters holds scales back a little, and never turns them round
    np.testing.assert_allclose(np.exp(found[2:]), grow, atol=0.05)


def test_the_search_stays_within_its_bounds():
    template = alignment.search_image(figure((64, 64)))
    found = alignment.align(alignment.search_image(figure((64, 64), (0.3, 0.3))), template)
    assert np.abs(found[:2]).max() <= 0.15
    assert np.abs(np.exp(found[2:]) - 1).max() <= 0.1501


def test_the_search_repeats_itself_and_is_blind_to_contrast():
    template = alignment.search_image(figure((48, 64)))
    image = alignment.search_image(figure((48, 64), (0.05, 0.02)))
    first = alignment.align(image, template)
    np.testing.assert_array_equal(first, alignment.align(image, template))
    # Elsewhere in memory NumPy may add in another order.
    np.testing.assert_allclose(first, alignment.align(image.copy(), template), atol=1e-6)
    np.testing.assert_allclose(first, alignment.align(3 * image - 7, template), atol=1e-3)


def test_three_shifts_and_three_scales_in_a_volume():
    shape = (24, 28, 20)
    still = blob(shape, (12, 10, 9), 4)[..., 0] + blob(shape, (8, 18, 12), 3)[..., 0]
    moved = np.roll(still, (2, -2, 1), axis=(0, 1, 2))
    found = alignment.align(alignment.search_image(moved), alignment.search_image(still))
    assert found.shape == (6,)
    np.testing.assert_allclose(found[:3] * shape, (2, -2, 1), atol=0.5)


def test_an_empty_image_is_left_alone():
    template = alignment.search_image(figure((32, 32)))
    np.testing.assert_array_equal(alignment.align(np.zeros((32, 32)), template), np.zeros(4))


def training(count=12):
    random = np.random.default_rng(5)
    for _ in range(count):
        shift, grow = random.uniform(-0.08, 0.08, 2), random.uniform(0.92, 1.08, 2)
        yield Scan(figure((90, 110), shift, grow)[..., None])


def test_the_mean_is_sharper_after_aligning_and_scans_agree_with_it():
    preprocessing = Preprocessing(size=(48, 48), align=True).fit(training())
    plain = Preprocessing(size=(48, 48))
    blurred = np.mean([plain.apply(scan).samples[0, ..., 0] for scan in training()], axis=0)

    def sharpness(image):
        return np.abs(np.diff(image, axis=0)).max() + np.abs(np.diff(image, axis=1)).max()

    assert sharpness(preprocessing.template_) > sharpness(blurred)
    scan = Scan(figure((90, 110), (0.1, -0.08))[..., None])
    before = np.abs(plain.apply(scan).samples[0, ..., 0] - preprocessing.template_).mean()
    prepared = preprocessing.apply(scan)
    after = np.abs(prepared.samples[0, ..., 0] - preprocessing.template_).mean()
    assert after < before / 2
    assert prepared.alignment.shape == (4,)
    assert prepared.alignment[0] > 0.05
    assert prepared.alignment[1] < -0.03


@pytest.mark.parametrize("shift", [(0.1, -0.08), (-0.07, 0.05)])
def test_maps_return_from_an_aligned_image(shift):
    preprocessing = Preprocessing(size=(64, 64), align=True).fit(training())
    pixels = figure((90, 110), shift)
    spot = np.array([40.0, 62.0])
    scan = Scan((pixels + 3 * blob((90, 110), spot, 2.5)[..., 0])[..., None])
    prepared = preprocessing.apply(scan)
    assert np.abs(prepared.alignment).max() > 0.02
    result = returned(prepared)
    bright = np.where(result > 0.6, result, 0)
    np.testing.assert_allclose(centroid(bright), spot, atol=0.5)


def test_the_slices_of_a_volume_move_together():
    volumes = [Scan(blob((40, 40, 9), (20 + d, 18, 4), 5), OBLIQUE) for d in (-2, 0, 2)]
    preprocessing = Preprocessing(size=(32, 32), align=True).fit(volumes)
    prepared = preprocessing.apply(volumes[0])
    assert prepared.alignment.shape == (4,)
    np.testing.assert_allclose(centroid(returned(prepared)), (18, 18, 4), atol=0.5)


def test_what_was_learned_is_saved_and_loaded():
    fitted = Preprocessing(size=(32, 32), align=True).fit(training(4))
    loaded = Preprocessing.model_validate_json(fitted.model_dump_json())
    loaded.load_state({name: array.copy() for name, array in fitted.state().items()})
    scan = next(iter(training(1)))
    np.testing.assert_array_equal(fitted.apply(scan).samples, loaded.apply(scan).samples)
    with pytest.raises(ValueError, match="template has shape"):
        loaded.load_state({"template": np.zeros((3, 3))})
    with pytest.raises(ValueError, match="unknown arrays"):
        loaded.load_state({"other": np.zeros((3, 3))})


def test_without_a_template_nothing_is_guessed():
    preprocessing = Preprocessing(size=(32, 32), align=True)
    assert preprocessing.template_ is None
    assert preprocessing.state() == {}
    with pytest.raises(RuntimeError, match="call fit or load_state first"):
        preprocessing.apply(next(iter(training(1))))
    with pytest.raises(ValueError, match="at least one scan"):
        preprocessing.fit([])
