"""Two scans of any grids, and the transform between them in mm."""

from __future__ import annotations

import time
from typing import ClassVar

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from ganatomy.errors import WrongUse
from ganatomy.report import write_report
from ganatomy.scans import Scan, ScanError
from registration.deformations import Displacement
from registration.known_transforms import displaced
from registration.pair import remarks_on
from registration.refinement import Level
from registration.registrar import OddPair, Registrar
from registration.registration import Registration
from registration.transforms import Affine
from tests.registration.aligners import artifact
from tests.registration.placing import place, points_of, smooth_field, turn

LEVELS = (Level(6.0, 400, 10, 8, 2.0), Level(3.0, 1500, 12, 20, 0.5))
SHIFT = np.array([7.0, -5.0, 4.0])  # mm by which what is shown lies further in the moving scan


def blob(shape: tuple[int, ...], grid: np.ndarray, centre: np.ndarray) -> Scan:
    """A smooth body with a bright side, on any grid."""
    away = points_of(grid, shape) - centre
    body = np.exp(-((away / (9.0, 7.0, 8.0)) ** 2).sum(-1))
    return Scan(100 * body[..., None], grid, path="blob", kind="nifti")


@pytest.fixture
def pair() -> tuple[Scan, Scan]:
    """Oblique, of other sizes, spacings, handedness and fields of view; the moving one thick."""
    fixed = place(turn((10, -15, 20)) * (1.1, 1.3, 1.7), (31, 35, 27), (12.0, -30.0, 45.0))
    moving = place(turn((-8, 12, 5)) * (0.9, 1.4, 5.3), (57, 41, 13), (15.0, -25.0, 50.0))
    middle = np.array([13.0, -29.0, 46.0])
    return blob((31, 35, 27), fixed, middle), blob((57, 41, 13), moving, middle + SHIFT)


@pytest.mark.parametrize("bends", [False, True])
def test_the_transform_is_between_the_scans_in_mm(pair, bends):
    found = Registrar(artifact(bends=bends)).register(*pair)
    points = np.array([[13.0, -29.0, 46.0], [15.0, -31.0, 44.0]])
    # The grids of the network are turned against each other, so a shift of theirs turns as well.
    np.testing.assert_allclose(found.transform.map(points[:1]), points[:1] + SHIFT, atol=1.0)
    np.testing.assert_allclose(found.points(found.transform.map(points)), points, atol=2e-3)
    assert found.moved.shape == pair[0].shape
    np.testing.assert_array_equal(found.moved.affine, pair[0].affine)
    assert found.failed is None


def test_the_moving_scan_is_resampled_once_from_its_own_pixels(pair):
    fixed, moving = pair
    found = Registrar(artifact()).register(fixed, moving)
    image = sitk.GetImageFromArray(moving.pixels[..., 0].transpose(2, 1, 0))
    lps = np.diag([-1.0, -1, 1, 1])

    def placed(image, grid):
        grid = lps @ grid
        spacing = np.linalg.norm(grid[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((grid[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(grid[:3, 3].tolist())
        return image

    matrix = lps @ found.transform.matrix @ lps
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    reference = placed(sitk.Image([int(n) for n in fixed.shape], sitk.sitkFloat32), fixed.affine)
    seen = sitk.Resample(placed(image, moving.affine), reference, transform, sitk.sitkLinear, 0.0)
    expected = sitk.GetArrayFromImage(seen).transpose(2, 1, 0)
    inner = found.inside & (expected > 0)
    assert inner.mean() > 0.5
    np.testing.assert_allclose(found.moved.pixels[..., 0][inner], expected[inner], atol=2e-2)


def test_landmarks_of_the_moving_scan_go_with_the_inverse(pair):
    fixed, moving = pair
    centre = np.array([[13.0, -29.0, 46.0]])
    found = Registrar(artifact()).register(fixed, moving, points=centre + SHIFT)
    # What is at the landmark on the moving scan is there on the moved scan too.
    np.testing.assert_allclose(found.landmarks, centre, atol=1.0)
    value = found.moved.pixels[..., 0]
    index = np.linalg.inv(fixed.affine)[:3] @ [*found.landmarks[0], 1]
    assert value[tuple(np.rint(index).astype(int))] > 0.9 * value.max()


def test_labels_stay_whole_numbers(pair):
    fixed, moving = pair
    labels = (moving.pixels[..., 0] > 30).astype(np.int16) * 3
    found = Registrar(artifact()).register(fixed, moving, labels=labels)
    assert found.labels.dtype == np.int16
    assert set(np.unique(found.labels)) == {0, 3}
    own = fixed.pixels[..., 0] > 30
    assert 2 * (own & (found.labels > 0)).sum() / (own.sum() + (found.labels > 0).sum()) > 0.8
    with pytest.raises(ValueError, match="expected the moving scan's"):
        found.warp(labels[1:])


def test_probabilities_are_not_rounded_to_labels(pair):
    fixed, moving = pair
    likely = Scan(moving.pixels / 100, moving.affine, path="likely.nii", kind="nifti")
    with pytest.raises(ScanError, match=r"likely\.nii: does not hold labels; expected whole"):
        Registrar(artifact()).register(fixed, moving, labels=likely)
    found = Registration(fixed, moving, Affine.identity(), 0.0)
    assert 0 < found.warp(likely, order=1).max() <= 1


def test_large_grids_are_done_in_slabs(pair, monkeypatch):
    fixed, moving = pair
    field = smooth_field(fixed.shape, size=2.0)
    whole = Registration(fixed, moving, Displacement(field, fixed.affine), 0.0)
    expected = whole.moved.pixels, whole.jacobian, whole.inside
    monkeypatch.setattr("registration.registration.SLAB", 8 * 35 * 27)
    parts = Registration(fixed, moving, Displacement(field, fixed.affine), 0.0)
    done = parts.moved.pixels, parts.jacobian, parts.inside
    for found, one in zip(done, expected, strict=True):
        np.testing.assert_allclose(found, one, atol=2e-3)


def test_folds_and_overlap_are_told(pair):
    fixed, _ = pair
    away = np.eye(4)
    away[:3, 3] = fixed.affine[:3, 0] * 15.5
    found = Registration(fixed, fixed, Affine(away), 0.0)
    assert found.folds == 0
    assert found.overlap == pytest.approx(16 / 31, abs=0.02)
    turned = -2.0 * (points_of(fixed.affine, fixed.shape) - fixed.affine[:3, 3])
    turned[..., 1:] = 0
    folded = Registration(fixed, fixed, Displacement(turned, fixed.affine), 0.0)
    assert folded.folds > 0.9


def test_a_picture_is_registered_in_its_pixels():
    draw = np.random.default_rng(0).uniform(0, 0.1, (40, 52, 1))
    row, column = np.indices((40, 52))
    images = [
        100 * np.exp(-(((row - r) / 6.0) ** 2 + ((column - c) / 7.0) ** 2))[..., None] + draw
        for r, c in ((20.0, 26.0), (24.0, 22.0))
    ]
    fixed, moving = (Scan(image, path="p", kind="picture") for image in images)
    found = Registrar(artifact(2, size=(20, 26))).register(fixed, moving)
    np.testing.assert_allclose(found.transform.map([[20.0, 26.0]]), [[24.0, 22.0]], atol=0.5)
    assert found.moved.affine is None


def spot(shape: tuple[int, int], spacing: tuple[float, float], centre: np.ndarray) -> np.ndarray:
    """A smooth spot, [row, column, 1], centred at mm from the first pixel."""
    away = np.moveaxis(np.indices(shape), 0, -1) * spacing - centre
    return 100 * np.exp(-((away / (6.0, 7.0)) ** 2).sum(-1))[..., None]


@pytest.mark.parametrize("spacings", [None, ((1.0, 1.0), (0.8, 1.25))])
@pytest.mark.parametrize("shape", [(60, 70), (66, 70)])
def test_pictures_of_any_sizes_and_spacings_are_laid_on_the_fixed_one(shape, spacings):
    own = artifact(2, size=(30, 35))
    own.model.grids = {"moving": "fixed"}
    centres = np.array([30.0, 33.0]), np.array([33.0, 29.0])
    scans = []
    for number, sides in enumerate(((60, 70), shape)):
        steps = (1.0, 1.0) if spacings is None else spacings[number]
        place = None if spacings is None else np.diag([*steps, 3.0, 1.0])
        scans.append(Scan(spot(sides, steps, centres[number]), place, path=f"p{number}"))
    registrar = Registrar(own)
    found = registrar.align(*scans)
    np.testing.assert_allclose(found.transform.map(centres[0]), centres[1], atol=0.6)
    fixed, laid = (sample[0, ..., 0] for sample in registrar.sampled(*scans)[:2])
    # What the network sees of both has the same mm: 2 a voxel.
    apart = [np.array(np.unravel_index(one.argmax(), one.shape)) for one in (fixed, laid)]
    np.testing.assert_allclose(2 * (apart[1] - apart[0]), centres[1] - centres[0], atol=2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: Scan(s.pixels[:, :, 0], s.affine, path="s"), "single slice.*expected a volume"),
        (lambda s: Scan(s.pixels[:, :, :1], s.affine, path="s"), "one voxel thin"),
        (lambda s: Scan(0 * s.pixels, s.affine, path="s"), "constant"),
        (lambda s: Scan(s.pixels, path="s"), "no place in mm"),
        (lambda s: Scan(s.pixels, path="s", kind="nifti"), "no place in mm"),
    ],
)
def test_what_no_model_can_take_is_refused_in_one_line(pair, change, message):
    registrar = Registrar(artifact())
    for scans in ((change(pair[0]), pair[1]), (pair[0], change(pair[1]))):
        with pytest.raises(ScanError, match=message) as caught:
            registrar.register(*scans)
        assert "\n" not in str(caught.value)


def test_a_volume_is_no_picture(pair):
    with pytest.raises(ScanError, match="is a volume; expected a picture"):
        Registrar(artifact(2)).register(*pair)


def test_a_flipped_header_is_remarked_on():
    grid = place(np.diag([2.0, 2.0, 2.0]), (24, 20, 18), (0.0, 0.0, 0.0))
    x, y, z = np.moveaxis(points_of(grid, (24, 20, 18)), -1, 0)
    body = (x**2 / 400 + y**2 / 300 + z**2 / 200 < 1).astype(float)
    odd = body + 2 * (((x - 9) ** 2 + y**2 + z**2) < 40) + (((x + 2) ** 2 + (y - 8) ** 2) < 30)
    fixed = Scan(odd[..., None], grid, path="fixed", kind="nifti")
    registrar = Registrar(artifact(size=(24, 20, 18), spacing=[2.0] * 3))
    assert registrar.register(fixed, fixed).remarks == []
    flipped = Scan(odd[::-1, ..., None].copy(), grid, path="moving", kind="nifti")
    with pytest.warns(OddPair, match="left and right exchanged"):
        found = registrar.register(fixed, flipped)
    assert len(found.remarks) == 1


def test_a_header_that_contradicts_itself_is_remarked_on():
    """NIfTI tells a scan's place twice; where the two exchange the sides, one of them is wrong."""
    plain = np.diag([2.0, 2.0, 3.0, 1.0])
    flipped = plain @ np.diag([-1.0, 1.0, 1.0, 1.0])
    pixels = np.random.default_rng(0).uniform(size=(6, 5, 4, 1))

    def remarks(own: np.ndarray, quaternion: np.ndarray, codes: tuple[int, int]) -> list[str]:
        image = nibabel.Nifti1Image(pixels[..., 0], own)
        image.set_sform(own, codes[0])
        image.set_qform(quaternion, codes[1])
        scan = Scan(pixels, own, path="odd.nii", kind="nifti", header=image.header)
        return remarks_on(Scan(pixels, plain, path="fixed.nii", kind="nifti"), scan)

    for own, other in ((plain, flipped), (flipped, plain)):
        assert remarks(own, other, (1, 1)) == [
            "odd.nii: its qform and sform exchange left and right; the sform is used"
        ]
    assert remarks(plain, plain, (1, 1)) == []
    assert remarks(plain, flipped, (1, 0)) == []  # a place without a code says nothing


def test_the_look_for_exchanged_sides_aligns_once_more_beside_the_seconds(pair, monkeypatch):
    own = artifact()
    align, lasted = own.model.align, []

    def timed(fixed, moving):
        began = time.perf_counter()
        found = align(fixed, moving)
        lasted.append(time.perf_counter() - began)
        return found

    monkeypatch.setattr(own.model, "align", timed)
    began = time.perf_counter()
    found = Registrar(own).register(*pair)
    took = time.perf_counter() - began
    first, mirrored = lasted
    assert first < found.seconds < took - mirrored


def test_affines_of_another_hand_are_remarked_on(pair):
    fixed, moving = pair
    turned = moving.affine @ np.diag([1.0, -1, 1, 1])
    turned[:3, 3] += moving.affine[:3, 1] * (moving.shape[1] - 1)
    moving = Scan(moving.pixels[:, ::-1], turned, path="moving", kind="nifti")
    assert np.linalg.det(moving.affine[:3, :3]) < 0 < np.linalg.det(fixed.affine[:3, :3])
    with pytest.warns(OddPair, match="left-handed affine"):
        Registrar(artifact()).register(fixed, moving)


def test_scans_that_lie_apart_are_refused_where_headers_count(pair):
    fixed, moving = pair
    own = artifact()
    own.model.grids = {"moving": "fixed"}
    registrar = Registrar(own)
    found = registrar.align(fixed, moving)
    centre = np.array([[13.0, -29.0, 46.0]])
    np.testing.assert_allclose(found.transform.map(centre), centre + SHIFT, atol=1.0)
    far = moving.affine.copy()
    far[:3, 3] += 500
    with pytest.raises(ScanError, match="does not overlap blob; expected scans of one place"):
        registrar.align(fixed, Scan(moving.pixels, far, path="far", kind="nifti"))


def test_scans_that_end_up_apart_are_refused(pair):
    fixed, moving = pair

    class Away:
        grids: ClassVar[dict] = {}

        def align(self, fixed, moving):
            from registration.aligner import Alignment

            return Alignment(np.zeros((1, 3)), moving, np.zeros(1))

        def transform(self, alignment, index, fixed_grid, moving_grid):
            far = np.eye(4)
            far[0, 3] = 1000.0
            return Affine(far)

    own = artifact()
    own.model = Away()
    with pytest.raises(ScanError, match="shows nothing of the fixed scan"):
        Registrar(own).align(fixed, moving)


def test_points_and_map_are_each_others_inverse(pair):
    found = Registrar(artifact(bends=True)).register(*pair)
    points = np.random.default_rng(2).uniform(-8, 8, (20, 3)) + np.array([13, -29, 46])
    np.testing.assert_allclose(found.inverse.map(found.transform.map(points)), points, atol=1e-2)


@pytest.mark.parametrize("reach", ["near", "far"])
def test_a_refined_transform_keeps_the_networks_beside_it(reach, tmp_path, monkeypatch):
    monkeypatch.setattr(f"registration.refinement.{reach.upper()}", LEVELS)
    grid = place(np.diag([2.0, 2.0, 2.0]), (24, 22, 20), (0.0, 0.0, 0.0))
    x, y, z = np.moveaxis(points_of(grid, (24, 22, 20)), -1, 0)
    body = np.exp(-((x / 12) ** 2) - (y / 9) ** 2 - (z / 10) ** 2) + 0.5 * np.exp(
        -(((x - 7) / 4) ** 2) - ((y - 3) / 4) ** 2 - (z / 4) ** 2
    )
    fixed = Scan(100 * body[..., None], grid, path="fixed", kind="nifti")
    turned = Affine.rigid([0.25, 0.0, -0.2, 4.0, -3.0, 2.0], [0.0] * 3)
    moving = displaced(fixed, turned.inverse())
    plain = Registrar(artifact()).register(fixed, moving)
    own = artifact()
    own.preset.postprocessing["refine"] = reach
    registrar = Registrar(own)
    found = registrar.register(fixed, moving)
    done = found.refinement
    assert plain.refinement is None
    assert done.reach == reach
    np.testing.assert_array_equal(done.before.matrix, plain.transform.matrix)
    # The critic is asked about what is returned, and what it said of the network's is kept.
    assert found.network_score == plain.network_score == pytest.approx(plain.alignment_score, 1e-3)
    assert found.alignment_score > plain.alignment_score + 1e-4
    assert done.information > done.information_before
    points = points_of(grid, (24, 22, 20))[body > 0.3]
    before, after = (
        np.linalg.norm(one.map(points) - turned.map(points), axis=-1).mean()
        for one in (done.before, found.transform)
    )
    assert after < 0.8 * before
    assert found.signs["alignment_score"] == found.alignment_score
    assert found.signs["information"] > plain.signs["information"]
    summary = found.save(tmp_path)
    assert summary["refinement"] == reach
    assert summary["matrix_before"] == done.before.matrix.tolist()
    assert summary["refined_by_mm"] > 0.3
    page = write_report(tmp_path, tmp_path / "report.html").read_text()
    assert "Mutual information by the refined one" in page


def test_what_bends_is_not_refined(pair):
    own = artifact(bends=True)
    own.preset.postprocessing["refine"] = "near"
    with pytest.raises(WrongUse, match="refine is for rigid and affine models"):
        Registrar(own).register(*pair)
