"""What a model sees, and that it comes back to where it was."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ganatomy.scans import Preprocessing, Scan, ScanError, read_scan
from tests.ganatomy.scans.conftest import DATA, ct_slice

OBLIQUE = np.array(
    [  # columns: mostly P, mostly R, mostly S, of 0.7, 0.9 and 3 mm
        [0.05, 0.89, 0.20, -30.0],
        [-0.69, 0.05, -0.40, 42.0],
        [-0.10, -0.13, 2.96, -11.0],
        [0, 0, 0, 1],
    ]
)


def blob(shape, centre, width=4.0) -> np.ndarray:
    grid = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    distance = sum(((g - c) / width) ** 2 for g, c in zip(grid, centre, strict=True))
    return np.exp(-distance / 2).astype(np.float32)[..., None]


def centroid(values: np.ndarray) -> np.ndarray:
    values = np.where(np.isfinite(values), values, 0)
    values = np.where(values > 0.3 * values.max(), values, 0)
    grid = np.meshgrid(*[np.arange(n) for n in values.shape], indexing="ij")
    return np.array([(g * values).sum() / values.sum() for g in grid])


def returned(prepared) -> np.ndarray:
    return prepared.back((prepared.samples[..., 0] + 1) / 2)


@pytest.mark.parametrize("framing", ["stretch", "fit", "crop"])
@pytest.mark.parametrize("equalise", [None, 0.02])
@pytest.mark.parametrize("shape", [(150, 90), (31, 52), (64, 64), (300, 411)])
def test_a_blob_on_a_picture_returns_to_its_place(shape, framing, equalise):
    centre = np.array(shape) * (0.45, 0.6)
    scan = Scan(blob(shape, centre, width=min(shape) / 12))
    preprocessing = Preprocessing(size=(48, 40), framing=framing, equalise=equalise)
    result = returned(preprocessing.apply(scan))
    assert result.shape == shape
    if equalise is None:
        np.testing.assert_allclose(centroid(result), centre, atol=0.5)
    else:  # equalisation changes the blob's profile, not its top
        top = np.unravel_index(np.nanargmax(result), shape)
        assert np.abs(top - centre).max() <= 0.5 + max(shape) / 40


@pytest.mark.parametrize("spacing", [None, (1.1, 0.9, 2.0)])
@pytest.mark.parametrize("orientation", ["RAS", None])
def test_a_blob_in_an_oblique_volume_returns_for_a_3d_model(orientation, spacing):
    shape, centre = (60, 48, 20), (25.2, 30.7, 8.9)
    scan = Scan(blob(shape, centre, width=3), OBLIQUE)
    preprocessing = Preprocessing(
        rank=3, size=(40, 44, 24), orientation=orientation, spacing=spacing
    )
    result = returned(preprocessing.apply(scan))
    np.testing.assert_allclose(centroid(result), centre, atol=0.5)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("orientation", ["RAS", None])
def test_a_blob_in_an_oblique_volume_returns_for_a_2d_model(plane, orientation):
    shape, centre = (60, 48, 20), (25.2, 30.7, 8.9)
    scan = Scan(blob(shape, centre, width=3), OBLIQUE)
    prepared = Preprocessing(size=(40, 44), plane=plane, orientation=orientation).apply(scan)
    axis = {"axial": 2, "coronal": 0, "sagittal": 1}[plane]
    if orientation is None:
        axis = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
    assert len(prepared.samples) == shape[axis]
    np.testing.assert_allclose(centroid(returned(prepared)), centre, atol=0.5)


def test_volumes_are_turned_to_ras():
    scan = Scan(np.random.default_rng(0).normal(size=(6, 8, 5, 1)), OBLIQUE)
    prepared = Preprocessing(rank=3, size=(8, 6, 5)).apply(scan)
    # the scan's axes run to posterior, right and superior
    np.testing.assert_allclose(
        np.corrcoef(
            prepared.samples[0, ..., 0].ravel(),
            scan.pixels[::-1, :, :, 0].transpose(1, 0, 2).ravel(),
        )[0, 1],
        1,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("plane", "row", "column", "slices"),
    [("axial", "P", "L", "S"), ("coronal", "I", "L", "A"), ("sagittal", "I", "P", "R")],
)
def test_slices_are_seen_as_radiologists_see_them(plane, row, column, slices):
    directions = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    for signs in itertools.product((1, -1), repeat=3):
        affine = np.diag([*signs, 1.0])
        # a volume whose value is its own place in the patient along one direction
        place = np.stack(np.meshgrid(*[np.arange(7)] * 3, indexing="ij"), -1) @ np.diag(signs)
        for letter, axis in ((row, 1), (column, 2), (slices, 0)):
            world, sign = directions[letter]
            scan = Scan(place[..., world : world + 1].astype(np.float32), affine)
            samples = Preprocessing(size=(7, 7), plane=plane).apply(scan).samples[..., 0]
            steps = np.diff(samples, axis=axis) * sign
            assert (steps > 0).all()


@pytest.mark.parametrize("orientation", ["RAS", None])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_slice_is_seen_as_the_volume_of_one_slice_that_it_is(order, orientation):
    pixels = np.random.default_rng(0).random((10, 7, 1))
    maps = np.random.default_rng(1).random((1, 12, 9)).astype(np.float32)
    for signs in itertools.product((1, -1), repeat=3):
        affine = np.diag([*signs, 1.0]) @ OBLIQUE[:, [*order, 3]]
        for plane in ("axial", "coronal", "sagittal"):
            preprocessing = Preprocessing(size=(12, 9), plane=plane, orientation=orientation)
            single = preprocessing.apply(Scan(pixels, affine))
            volume = preprocessing.apply(Scan(pixels[:, :, None], affine))
            np.testing.assert_array_equal(single.samples, volume.samples)
            np.testing.assert_array_equal(single.back(maps), volume.back(maps)[..., 0])


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_slice_alone_is_seen_as_it_is_within_its_volume(plane):
    pixels = np.random.default_rng(0).random((9, 8, 7, 1))
    wanted = {"size": (24, 18), "normalise": "window", "window": (0, 1)}
    maps = np.random.default_rng(1).random((9, 24, 18)).astype(np.float32)
    for signs in itertools.product((1, -1), repeat=3):
        affine = OBLIQUE @ np.diag([*signs, 1.0])
        whole = Preprocessing(**wanted, plane=plane).apply(Scan(pixels, affine))
        sliced, order = whole.field.slices
        rest = [axis for axis in range(3) if axis != sliced]
        everywhere = whole.back(maps[: len(order)])
        for axes in (rest, rest[::-1]):  # a file may hold a slice either way round
            own = np.take(pixels, order[2], sliced)
            back = np.take(everywhere, order[2], sliced)
            if axes != rest:
                own, back = own.swapaxes(0, 1), back.T
            # the settings' plane is for volumes: a slice lies in its own
            alone = Preprocessing(**wanted, plane="axial").apply(
                Scan(own, affine[:, [*axes, sliced, 3]])
            )
            np.testing.assert_allclose(alone.samples[0], whole.samples[2], atol=1e-6)
            np.testing.assert_allclose(alone.back(maps[2:3]), back, atol=1e-6)


def test_a_nifti_slice_of_two_dimensions_equals_that_of_three(tmp_path):
    data = np.random.default_rng(0).random((10, 7)).astype(np.float32)
    affine = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0.1, 4, 30], [0, 0, 0, 1]])
    for name, array in (("flat", data), ("deep", data[..., None])):
        nib.save(nib.Nifti1Image(array, affine), tmp_path / f"{name}.nii")
    flat, deep = (read_scan(tmp_path / f"{name}.nii") for name in ("flat", "deep"))
    assert (flat.rank, deep.rank) == (2, 3)
    preprocessing = Preprocessing(size=(10, 7), normalise="window", window=(0, 1))
    samples = preprocessing.apply(flat).samples
    np.testing.assert_array_equal(samples, preprocessing.apply(deep).samples)
    # the first axis runs to anterior, the second to the left
    np.testing.assert_allclose(samples[0, ..., 0], data[::-1] * 2 - 1, atol=1e-6)


def test_a_dicom_slice_alone_equals_the_slice_of_its_series(make_series):
    def mirrored(dataset, number):
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]

    folder = make_series(mirrored)
    preprocessing = Preprocessing(size=(12, 9), normalise="window", window=(-1000, 1000))
    series = preprocessing.apply(read_scan(folder))
    for file in folder.iterdir():
        scan = read_scan(file)
        alone = preprocessing.apply(scan)
        number = int(9 - int(file.stem))
        # the normal points down, the model's slices run up
        np.testing.assert_array_equal(alone.samples[0], series.samples[number])
        volume = Scan(scan.pixels[:, :, None], scan.affine, kind="dicom")
        np.testing.assert_array_equal(alone.samples, preprocessing.apply(volume).samples)
        np.testing.assert_allclose(
            alone.samples[0], np.clip(scan.pixels[:, ::-1] / 1000, -1, 1), atol=1e-6
        )


def test_what_has_no_place_in_the_patient_stays_rows_and_columns(tmp_path, voxels):
    dataset = ct_slice(voxels[0])
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    dataset.save_as(tmp_path / "radiograph.dcm", enforce_file_format=True)
    radiograph = read_scan(tmp_path / "radiograph.dcm")
    for scan in (radiograph, Scan(radiograph.pixels, kind="picture")):
        samples = Preprocessing(size=(12, 9)).apply(scan).samples[0]
        assert np.corrcoef(samples.ravel(), scan.pixels.ravel())[0, 1] == pytest.approx(1)


def test_an_array_is_a_volume_in_ras_order():
    array = Scan(np.random.default_rng(0).random((8, 9, 7, 1)))
    for model in (
        {"rank": 3, "size": (8, 9, 7)},
        *({"size": (9, 8), "plane": plane} for plane in ("axial", "coronal", "sagittal")),
    ):
        preprocessing = Preprocessing(**model, normalise="window", window=(0, 1))
        bare = preprocessing.apply(array)
        placed = preprocessing.apply(Scan(array.pixels, np.eye(4), kind="nifti"))
        np.testing.assert_array_equal(bare.samples, placed.samples)
        np.testing.assert_array_equal(bare.placements, placed.placements)
        if preprocessing.rank == 3:
            np.testing.assert_allclose(bare.samples[0], array.pixels * 2 - 1, atol=1e-6)
    # the mm of a pixel are still unknown
    with pytest.raises(ScanError, match="gives no spacing"):
        Preprocessing(rank=3, size=(8, 8, 8), spacing=(1, 1, 1)).apply(array)


@pytest.mark.parametrize("kind", ["dicom", "nifti"])
@pytest.mark.parametrize("rank", [2, 3])
def test_a_file_that_gives_no_orientation_is_refused_unless_none_is_asked_for(kind, rank):
    scan = Scan(np.random.default_rng(0).random((8, 8, 8, 1)), path="bare", kind=kind)
    wanted = {"rank": rank, "size": (8,) * rank}
    with pytest.raises(ScanError, match="bare: gives no orientation; expected a volume with an"):
        Preprocessing(**wanted).apply(scan)
    assert Preprocessing(**wanted, orientation=None).apply(scan).samples.shape[-2:] == (8, 1)


def test_placements_say_where_each_sample_lies():
    scan = Scan(blob((30, 40, 6), (12, 22, 3), 4), np.diag([-1.0, -1, 3, 1]))
    prepared = Preprocessing(size=(15, 20)).apply(scan)
    assert prepared.placements.shape == (6, 4, 3)
    sample, row, column = np.unravel_index(
        prepared.samples[..., 0].argmax(), prepared.samples.shape[:3]
    )
    place = prepared.placements[sample] @ [row, column, 1]
    np.testing.assert_allclose(place, [12, 22, 3, 1], atol=1)


@given(
    shape=st.tuples(st.integers(6, 90), st.integers(6, 90)),
    size=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    framing=st.sampled_from(["stretch", "fit", "crop"]),
    margin=st.floats(0, 0.2),
)
@settings(max_examples=60, deadline=None)
def test_a_map_of_coordinates_returns_as_coordinates(shape, size, framing, margin):
    # a strip thinner than one pixel of the model cannot be fitted into its grid
    assume(framing != "fit" or min(shape) / max(np.divide(shape, size)) > 2)
    # nor has a crop between two pixel centres any pixel of the scan to come back to
    extents = np.multiply(shape, 1 - 2 * margin)
    assume(framing != "crop" or min(np.divide(extents, size)) * min(size) > 2)
    scan = Scan(np.random.default_rng(0).normal(size=(*shape, 1)))
    prepared = Preprocessing(size=size, framing=framing, margin=margin).apply(scan)
    placement = prepared.placements[0]
    for axis in range(2):
        index = np.stack(np.meshgrid(*[np.arange(n) for n in size], indexing="ij"), -1)
        where = placement[axis, axis] * index[..., axis] + placement[axis, 2]
        result = prepared.back(where[None].astype(np.float32))
        expected = np.arange(shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
        seen = np.isfinite(result)
        assert seen.any()
        # linear inside; within half a model pixel of the border the edge's value stands
        half = placement[axis, axis] / 2 + 1e-3
        assert np.abs(np.where(seen, result - expected, 0)).max() <= half
        inner = (np.broadcast_to(expected, shape) >= where.min()) & (expected <= where.max())
        assert np.abs(np.where(seen & inner, result - expected, 0)).max() < 0.02


def test_what_the_model_never_saw_is_nan():
    scan = Scan(np.random.default_rng(0).normal(size=(100, 50, 1)))
    cropped = Preprocessing(size=(20, 20), framing="crop").apply(scan).back(np.ones((1, 20, 20)))
    assert np.isnan(cropped[:25]).all()
    assert (cropped[25:75] == 1).all()
    assert np.isnan(cropped[75:]).all()
    margin = Preprocessing(size=(20, 20), margin=0.1).apply(scan).back(np.ones((1, 20, 20)))
    assert np.isnan(margin[:10]).all()
    assert np.isnan(margin[:, 45:]).all()
    assert (margin[10:90, 5:45] == 1).all()
    fitted = Preprocessing(size=(20, 20), framing="fit").apply(scan).back(np.ones((1, 20, 20)))
    assert (fitted == 1).all()


def test_padding_is_dark_and_outside_the_statistics():
    scan = Scan(5 + np.random.default_rng(0).random(size=(40, 20, 1)))
    samples = Preprocessing(size=(20, 20), framing="fit").apply(scan).samples[0, ..., 0]
    assert (samples[:, :5] == -1).all()
    assert (samples[:, 15:] == -1).all()
    assert samples[:, 5:15].max() == 1


def test_a_nan_in_the_models_map_stays_local():
    scan = Scan(np.random.default_rng(0).normal(size=(40, 40, 1)))
    maps = np.zeros((1, 20, 20), np.float32)
    maps[0, 10, 10] = np.nan
    result = Preprocessing(size=(20, 20)).apply(scan).back(maps)
    assert 1 <= np.isnan(result).sum() <= 16
    assert np.isnan(result[20:22, 20:22]).all()


def test_shrinking_does_not_alias():
    stripes = np.tile([0.0, 1.0], (128, 64))[..., None]
    stripes[:, :4] = 2  # something to normalise by
    samples = Preprocessing(size=(32, 32)).apply(Scan(stripes)).samples[0, :, 4:, 0]
    assert np.ptp(samples) < 0.1


def test_margins_do_not_leak_into_what_is_seen():
    inner = np.random.default_rng(0).random((80, 80))
    bright, dark = np.pad(inner, 10, constant_values=9), np.pad(inner, 10, constant_values=-9)
    preprocessing = Preprocessing(size=(32, 32), margin=0.1, equalise=0.02)
    np.testing.assert_array_equal(
        preprocessing.apply(Scan(bright[..., None])).samples,
        preprocessing.apply(Scan(dark[..., None])).samples,
    )


@pytest.mark.parametrize("normalise", ["range", "percentile", "contrast", "window"])
@pytest.mark.parametrize("equalise", [None, 0.02])
def test_values_land_in_minus_one_to_one(normalise, equalise):
    scan = read_scan(DATA / "body-ct")
    samples = (
        Preprocessing(size=(32, 32), normalise=normalise, equalise=equalise, window=(-160, 240))
        .apply(scan)
        .samples
    )
    assert samples.dtype == np.float32
    assert samples.shape == (6, 32, 32, 1)
    assert samples.min() >= -1
    assert samples.max() <= 1
    assert samples.max() - samples.min() > 0.5


def test_a_window_maps_its_ends_and_does_not_depend_on_the_content():
    pixels = np.linspace(-1000, 1000, 400).reshape(20, 20, 1)
    window = Preprocessing(size=(20, 20), window=(-500, 500), normalise="window")
    samples = window.apply(Scan(pixels)).samples[0]
    np.testing.assert_allclose(samples, np.clip(pixels / 500, -1, 1), atol=1e-4)


def test_contrast_is_mean_zero_and_a_third_of_a_deviation():
    scan = Scan(np.random.default_rng(0).normal(50, 7, size=(32, 32, 1)))
    samples = Preprocessing(size=(32, 32), normalise="contrast").apply(scan).samples
    assert samples.mean() == pytest.approx(0, abs=0.01)
    assert samples.std() == pytest.approx(1 / 3, abs=0.01)


def test_brightness_and_contrast_of_the_device_do_not_matter():
    scan = Scan(np.random.default_rng(0).random((40, 40, 1)))
    other = Scan(scan.pixels * 300 + 1000)
    for normalise in ("range", "percentile", "contrast"):
        preprocessing = Preprocessing(size=(24, 24), normalise=normalise)
        first, second = preprocessing.apply(scan).samples, preprocessing.apply(other).samples
        np.testing.assert_allclose(first, second, atol=1e-4)


def test_colour_for_a_grey_model_is_an_error_unless_asked_for():
    colour = Scan(np.random.default_rng(0).random((16, 16, 3)), path="photo.png")
    with pytest.raises(ScanError, match=r"photo.png: is in colour; expected a grey image"):
        Preprocessing(size=(16, 16)).apply(colour)
    assert Preprocessing(size=(16, 16), grey=True).apply(colour).samples.shape == (1, 16, 16, 1)
    assert Preprocessing(size=(16, 16), channels=3).apply(colour).samples.shape[-1] == 3
    same = Scan(np.repeat(colour.pixels[..., :1], 3, axis=-1))
    grey = Scan(colour.pixels[..., :1])
    np.testing.assert_array_equal(
        Preprocessing(size=(16, 16)).apply(same).samples,
        Preprocessing(size=(16, 16)).apply(grey).samples,
    )
    with pytest.raises(ScanError, match=r"has 1 channel\(s\); expected 3"):
        Preprocessing(size=(16, 16), channels=3).apply(grey)


def test_scans_that_do_not_suit_the_model():
    picture = Scan(np.random.default_rng(0).random((16, 16, 1)), path="a.png")
    with pytest.raises(ScanError, match=r"a.png: is a single picture or slice; expected a volume"):
        Preprocessing(rank=3, size=(8, 8, 8)).apply(picture)
    with pytest.raises(ScanError, match=r"a.png: gives no spacing"):
        Preprocessing(size=(8, 8), spacing=(1, 1)).apply(picture)
    edge = np.zeros((20, 20, 1))
    edge[0, 0] = 1
    with pytest.raises(ScanError, match="shows a single value where the model looks"):
        Preprocessing(size=(8, 8), margin=0.2).apply(Scan(edge))
    with pytest.raises(ScanError, match="too small for the model"):
        Preprocessing(size=(8, 8)).apply(Scan(np.arange(9.0).reshape(9, 1, 1)))
    strip = Scan(np.random.default_rng(0).random((6, 60, 1)))
    with pytest.raises(ScanError, match="thinner than a pixel of the model"):
        Preprocessing(size=(4, 4), framing="fit").apply(strip)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": (64,)},
        {"rank": 3, "size": (64, 64)},
        {"spacing": (1, 0)},
        {"window": (5, 5)},
        {"normalise": "window"},
        {"colour": True},
        {"channels": 65},
        {"margin": 0.5},
        {"grey": True, "channels": 3},
    ],
)
def test_settings_that_contradict_are_refused(wrong):
    with pytest.raises(ValidationError):
        Preprocessing(**wrong)


def test_settings_survive_json():
    original = Preprocessing(size=(32, 48), window=(-100, 300), equalise=0.03, align=True)
    assert Preprocessing.model_validate_json(original.model_dump_json()) == original


def test_a_map_of_another_shape_is_refused():
    prepared = Preprocessing(size=(8, 8)).apply(Scan(np.arange(64.0).reshape(8, 8, 1)))
    with pytest.raises(ValueError, match="expected"):
        prepared.back(np.zeros((1, 8, 9)))


@pytest.mark.parametrize("direction", [1, -1])
def test_a_grid_of_the_scans_own_spacing_lies_on_its_voxels(direction):
    pixels = np.random.default_rng(0).normal(size=(5, 6, 7, 1))
    scan = Scan(pixels, np.diag([direction * 1.0, 1, 1, 1]))
    settings = Preprocessing(
        rank=3, size=(6, 6, 6), spacing=(1, 1, 1), window=(-9, 9), normalise="window"
    )
    prepared = settings.apply(scan)
    seen = prepared.samples[0, ..., 0] * 9
    placement = prepared.placements[0]
    np.testing.assert_array_equal(placement, np.rint(placement))
    index = placement[:3, :3] @ np.indices((6, 6, 6)).reshape(3, -1) + placement[:3, 3:]
    inside = ((index >= 0) & (index < [[5], [6], [7]])).all(0)
    assert inside.sum() == 5 * 6 * 6
    found = pixels[(*index[:, inside].astype(int), 0)]
    np.testing.assert_allclose(seen.ravel()[inside], found, atol=1e-5)
