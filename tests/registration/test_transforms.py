"""Transforms in mm: what composes, what inverts, and what SimpleITK makes of the same ones."""

import keras
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from ganatomy.gradients import gradient
from registration import Affine, Displacement, Velocity, moved
from registration.fields import compose, integrate, jacobian_determinant, to_mm, to_voxels, warp
from registration.matrices import affine_matrix, rigid_matrix, sampling_points
from registration.warp import resample
from tests.registration.placing import (
    FIXED_SHAPE,
    FLIP,
    affine_map,
    fixed_grid,
    inner_points,
    moving_grid,
    points_of,
    rigid_map,
    sent,
    smooth_field,
)


def smooth(rng, shape, sigma, peak):
    field = np.stack([gaussian_filter(rng.standard_normal(shape), sigma) for _ in shape], -1)
    return (peak * field / np.linalg.norm(field, axis=-1).max()).astype(np.float32)


def oblique(shape, seed=0):
    """A field of a mm, which voxels of 0.9 mm bear without folds."""
    return Displacement(smooth_field(shape, seed, 1.0), fixed_grid())


def as_itk(pixels, affine):
    """[i, j, k] on an affine in RAS as SimpleITK's image in LPS."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(pixels.T))
    columns = FLIP @ affine[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((columns / spacing).ravel().tolist())
    image.SetOrigin((FLIP @ affine[:3, 3]).tolist())
    return image


TRANSFORMS = {
    "identity": lambda: Affine.identity(),
    "rigid": lambda: Affine(rigid_map()),
    "affine": lambda: Affine(affine_map()),
    "dense": lambda: oblique(FIXED_SHAPE),
    "velocity": lambda: Velocity(smooth_field(FIXED_SHAPE, 0, 1.0), fixed_grid()),
    "chain": lambda: oblique(FIXED_SHAPE).then(Affine(affine_map())),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_points_go_back_by_the_inverse(name):
    transform, points = TRANSFORMS[name](), inner_points()
    # What is exact is told to a µm; dense fields to what they promise; flows as linear
    # interpolation on 6.5 mm slices allows.
    tolerance = {"dense": 2e-3, "chain": 2e-3, "velocity": 0.1}.get(name, 1e-9)
    np.testing.assert_allclose(transform.points(transform.map(points)), points, atol=tolerance)
    if name not in ("dense", "chain"):
        back = transform.inverse().map(transform.map(points))
        np.testing.assert_allclose(back, points, atol=tolerance)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_chain_does_one_after_the_other(name):
    first, second, points = TRANSFORMS[name](), Affine(rigid_map()), inner_points()
    chain = first.then(second)
    np.testing.assert_allclose(chain.map(points), second.map(first.map(points)), atol=1e-9)
    np.testing.assert_allclose(
        second.then(first).map(points), first.map(second.map(points)), atol=1e-9
    )
    assert isinstance(chain, Affine) == isinstance(first, Affine)


def test_the_inverse_of_a_field_is_exact_at_its_voxels():
    field = oblique(FIXED_SHAPE)
    inverse = field.inverse()
    points = points_of(inverse.affine, inverse.shape)
    np.testing.assert_allclose(field.map(inverse.map(points)), points, atol=2e-3)


def test_a_fold_is_seen():
    field = np.zeros((9, 9, 9, 3), np.float32)
    field[4, 4, 4, 0], field[5, 4, 4, 0] = 3, -3
    folded = Displacement(field, np.eye(4))
    assert (folded.jacobian_determinant((9, 9, 9), np.eye(4)) <= 0).any()
    assert np.isnan(folded.log_jacobian((9, 9, 9), np.eye(4))).any()


def test_a_steep_field_is_inverted():
    # u' = 1.5 between the voxels: the plain fixed point runs away.
    field = np.zeros((8, 3, 3, 3), np.float32)
    field[..., 0] = 1.5 * np.arange(8)[:, None, None]
    steep = Displacement(field, np.eye(4))
    points = np.array([[3.3, 1.0, 1.0], [10.0, 0.5, 1.5]])
    np.testing.assert_allclose(steep.map(steep.points(points)), points, atol=1e-3)


def test_a_flow_of_ten_voxels_is_undone_by_its_negative():
    """On 40×56×40, smooth over 4 voxels: below 0.05 voxel in the mean, without folds."""
    shape = (40, 56, 40)
    velocity = smooth(np.random.default_rng(3), shape, 4, 10)[None]
    forth, back = np.asarray(integrate(velocity)), np.asarray(integrate(-velocity))
    there = np.asarray(warp(back, forth, border="edge"))
    miss = np.linalg.norm(forth + there, axis=-1)[0]
    inner = tuple(slice(10, n - 10) for n in shape)
    assert np.linalg.norm(forth, axis=-1).max() > 4
    assert miss[inner].mean() < 0.05
    assert np.asarray(jacobian_determinant(forth)).min() > 0
    finer = np.asarray(integrate(velocity, 10))
    assert np.linalg.norm(finer - forth, axis=-1)[0][inner].max() < 0.05


def test_a_flow_compiled_as_a_whole_is_the_same():
    import tensorflow as tf

    velocity = tf.constant(smooth(np.random.default_rng(4), (12, 10, 8), 2, 4)[None])

    def flow(velocity):
        with tf.GradientTape() as tape:
            tape.watch(velocity)
            field = integrate(velocity)
            loss = tf.reduce_sum(field**2)
        return field, tape.gradient(loss, velocity)

    for one, other in zip(
        flow(velocity), tf.function(flow, jit_compile=True)(velocity), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)


def test_a_constant_velocity_is_its_displacement():
    velocity = np.full((1, 5, 6, 2), [1.5, -0.5], np.float32)
    np.testing.assert_allclose(integrate(velocity), velocity, atol=1e-6)


@pytest.mark.parametrize("rank", [2, 3])
def test_the_jacobian_of_a_matrix_is_its_determinant(rank):
    grid, matrix = fixed_grid(), affine_map()
    if rank == 2:
        grid, matrix = (
            np.diag([0.7, 1.9, 1.0]),
            np.array([[1.2, 0.1, 3], [-0.2, 0.8, 1], [0, 0, 1]]),
        )
    found = Affine(matrix).jacobian_determinant((5, 4, 6)[:rank], grid)
    np.testing.assert_allclose(found, np.linalg.det(matrix[:-1, :-1]), rtol=1e-4)
    logs = Affine(matrix).log_jacobian((5, 4, 6)[:rank], grid)
    np.testing.assert_allclose(logs, np.log(found), rtol=1e-5)


def test_the_jacobian_agrees_with_itk():
    field = oblique(FIXED_SHAPE)
    spacing = np.linalg.norm(field.affine[:3, :3], axis=0)
    # ITK's filter is blind to directions: it is told the field along the axes of the grid.
    turned = field.displacement @ (field.affine[:3, :3] / spacing)
    image = sitk.GetImageFromArray(np.ascontiguousarray(turned.transpose(2, 1, 0, 3)), True)
    image.SetSpacing(spacing.tolist())
    expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image)).T
    inner = (slice(1, -1),) * 3
    found = field.jacobian_determinant(field.shape, field.affine)
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-4)


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("name", ["affine", "dense"])
def test_a_moved_scan_is_the_one_of_simpleitk(interpolation, name):
    rng = np.random.default_rng(5)
    shape = (21, 18, 15)  # smaller than what the fixed grid covers: some voxels fall outside
    pixels = gaussian_filter(rng.standard_normal(shape), 1).astype(np.float32)
    affine, transform = moving_grid(), TRANSFORMS[name]()
    affine[:3, 3] = [-10.0, 0.0, 25.0]
    if name == "affine":
        lps = FLIP @ transform.matrix[:3, :3] @ FLIP
        itk = sitk.AffineTransform(3)
        itk.SetMatrix(lps.ravel().tolist())
        itk.SetTranslation((FLIP @ transform.matrix[:3, 3]).tolist())
    else:
        field = as_itk(np.zeros(FIXED_SHAPE, np.float32), fixed_grid())
        lps = np.ascontiguousarray((transform.displacement @ FLIP).transpose(2, 1, 0, 3))
        vectors = sitk.GetImageFromArray(lps.astype(np.float64), isVector=True)
        vectors.CopyInformation(field)
        itk = sitk.DisplacementFieldTransform(vectors)
    interpolator = {
        "nearest": sitk.sitkNearestNeighbor,
        "linear": sitk.sitkLinear,
        "cubic": sitk.sitkBSpline,
    }[interpolation]
    reference = as_itk(np.zeros(FIXED_SHAPE, np.float32), fixed_grid())
    expected = sitk.GetArrayFromImage(
        sitk.Resample(as_itk(pixels, affine), reference, itk, interpolator, -7.0)
    ).T
    found = moved(
        pixels[..., None],
        affine,
        transform,
        FIXED_SHAPE,
        fixed_grid(),
        interpolation=interpolation,
        value=-7.0,
    )[..., 0]
    assert 0.02 < (expected == -7).mean() < 0.98
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("rank", [2, 3])
def test_sampling_points_are_what_the_transforms_say(rank):
    """The differentiable way in float32 and the exact one in float64 look up the same places."""
    shape, fixed, moving = FIXED_SHAPE, fixed_grid(), moving_grid()
    field = smooth_field(shape)
    if rank == 2:
        shape, fixed, moving = (9, 7), np.diag([1.5, 0.5, 1]), np.diag([0.8, 0.9, 1])
        field = smooth_field(shape)
    centre = (fixed @ [*(np.array(shape) - 1) / 2, 1])[:rank]
    parameters = np.array([[0.2, -0.1, 0.3, 4, -5, 6]] if rank == 3 else [[0.2, 4, -5]], "float32")
    matrix = rigid_matrix(parameters, centre)
    found = sampling_points(shape, fixed, moving, matrix, field[None])
    exact = Displacement(field, fixed).then(Affine.rigid(parameters[0], centre))
    expected = Affine(moving).inverse().map(exact.map(points_of(fixed, shape)))
    np.testing.assert_allclose(found[0], expected, atol=1e-3)
    plain = sampling_points(shape, fixed, fixed)
    np.testing.assert_allclose(plain[0], points_of(np.eye(rank + 1), shape), atol=1e-4)


def test_a_rigid_matrix_turns_about_its_centre():
    centre = np.array([10.0, -20.0, 30.0])
    quarter = Affine.rigid([0, 0, np.pi / 2, 1, 2, 3], centre)
    np.testing.assert_allclose(quarter.map(centre), centre + np.array([1, 2, 3]), atol=1e-12)
    # About the third axis, from the first to the second.
    np.testing.assert_allclose(
        quarter.map(centre + np.array([5, 0, 0])), centre + np.array([1, 7, 3]), atol=1e-12
    )
    linear = quarter.matrix[:3, :3]
    np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(
        affine_matrix(np.zeros((2, 12)), centre), [np.eye(4)] * 2, atol=1e-12
    )
    np.testing.assert_allclose(affine_matrix(np.zeros((2, 6)), centre[:2]), [np.eye(3)] * 2)


def test_parameters_are_learned_through_the_resampling():
    """A step down the gradient of a rigid misalignment goes towards the truth."""
    rng = np.random.default_rng(2)
    image = gaussian_filter(rng.standard_normal((16, 16)), 2)[None, ..., None].astype(np.float32)
    place = np.diag([1.5, 0.8, 1.0])
    centre = np.array([11.25, 6.0])
    truth = rigid_matrix(np.array([[0.1, 0.6, -0.5]], "float32"), centre)
    fixed = resample(image, sampling_points((16, 16), place, place, truth), border="edge")
    parameters = keras.Variable(np.zeros((1, 3), "float32"))
    optimizer = keras.optimizers.Adam(0.05)
    import tensorflow as tf

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            matrix = rigid_matrix(parameters.value, centre)
            seen = resample(image, sampling_points((16, 16), place, place, matrix), border="edge")
            loss = keras.ops.mean((seen - fixed) ** 2)
        optimizer.apply([tape.gradient(loss, parameters.value)], [parameters])

    for _ in range(50):
        step()
    np.testing.assert_allclose(parameters.numpy()[0], [0.1, 0.6, -0.5], atol=0.05)


@pytest.mark.parametrize("rank", [2, 3])
def test_composed_fields_do_the_first_one_first(rank):
    shape, grid = (15, 13, 12)[:rank], np.eye(rank + 1)
    first, second = (smooth_field(shape, seed, 2.0) for seed in (1, 2))
    points = points_of(grid, shape)
    there = points + np.asarray(compose(first[None], second[None])[0])
    one = sent(points, grid, first, grid)
    inner = ((one >= 0) & (one <= np.array(shape) - 1)).all(-1)  # beyond, each has its own rule
    assert inner.mean() > 0.3
    np.testing.assert_allclose(there[inner], sent(one, grid, second, grid)[inner], atol=1e-4)
    chain = Displacement(first, grid).then(Displacement(second, grid))
    np.testing.assert_allclose(there[inner], chain.map(points)[inner], atol=1e-4)
    reversed_order = points + np.asarray(compose(second[None], first[None])[0])
    assert np.abs(reversed_order - there)[inner].max() > 0.5


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", ["warp", "integrate"])
def test_gradients_to_fields_are_finite_differences(name, rank):
    draw, shape = np.random.default_rng(0), (6, 5, 4)[:rank]
    field = draw.uniform(-1.5, 1.5, (2, *shape, rank))
    image, weights = draw.normal(size=(2, *shape, 2)), draw.normal(size=(2, *shape, rank))
    made = {
        "warp": lambda field: warp(image, field, border="edge") * weights[..., :2],
        "integrate": lambda field: integrate(field, steps=4) * weights,
    }[name]
    found = np.asarray(gradient(made, field))
    assert found.dtype == np.float64
    step = draw.normal(size=field.shape)
    small = 1e-7 * step  # so small that no point changes the voxels it lies between
    ends = [np.asarray(made(field + sign * small)).sum() for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / 2e-7
    assert abs(slope) > 0.1
    assert (found * step).sum() == pytest.approx(slope, rel=1e-5)


def test_half_precision_costs_no_place():
    velocity = keras.ops.cast(np.full((1, 300, 2, 2), [0.25, 0.0]), "bfloat16")
    image = np.arange(300.0)[None, :, None, None] * np.ones((1, 300, 2, 1))
    moved_ramp = warp(image, integrate(velocity), border="edge")
    np.testing.assert_allclose(moved_ramp[0, :299], image[0, :299] + 0.25, atol=1e-4)


@pytest.mark.parametrize("rank", [2, 3])
def test_voxels_of_a_microscope_are_voxels(rank):
    """However short the axes of a grid are, it is singular only where they are not independent."""
    shape, grid = (9, 8, 7)[:rank], np.diag([*(2.5e-4, 3e-4, 9e-3)[:rank], 1.0])
    pixels = np.random.default_rng(0).uniform(size=(*shape, 1)).astype("float32")
    shift = np.eye(rank + 1)
    shift[0, -1] = 2.5e-4
    seen = moved(pixels, grid, Affine(shift), shape, grid)
    np.testing.assert_allclose(seen[:-1], pixels[1:], atol=1e-4)
    points = sampling_points(shape, grid, grid, shift[None].astype("float32"))
    np.testing.assert_allclose(
        points[0], points_of(np.eye(rank + 1), shape) + np.eye(rank)[0], atol=1e-4
    )
    flat = grid.copy()
    flat[:rank, 1] = 2 * flat[:rank, 0]
    with pytest.raises(ValueError, match="singular"):
        Affine(flat)
    with pytest.raises(ValueError, match="singular"):
        sampling_points(shape, grid, flat)


def test_mm_and_voxels():
    field = smooth_field(FIXED_SHAPE)[None]
    columns = fixed_grid()[:3, :3]
    there = to_voxels(field, columns)
    np.testing.assert_allclose(
        np.asarray(there)[0, 1, 2, 3] @ columns.T, field[0, 1, 2, 3], atol=1e-4
    )
    np.testing.assert_allclose(to_mm(there, columns), field, atol=1e-4)


WRONG = {
    "singular": lambda: Affine(np.diag([1.0, 1, 0, 1])),
    "not a square": lambda: Affine(np.eye(4)[:3]),
    "field without vectors": lambda: Displacement(np.zeros((4, 4, 4)), np.eye(4)),
    "field of another rank": lambda: Displacement(np.zeros((4, 4, 4, 2)), np.eye(4)),
    "singular grid": lambda: Velocity(np.zeros((4, 4, 4, 3)), np.diag([1.0, 1, 0, 1])),
    "endless": lambda: Displacement(np.full((4, 4, 4, 3), np.inf), np.eye(4)),
    "two ranks": lambda: Affine(np.eye(4)).then(Affine(np.eye(3))),
    "flat points": lambda: Affine(np.eye(4)).map(np.zeros((5, 2))),
    "flat scan": lambda: moved(
        np.zeros((4, 4, 1)), np.eye(3), Affine.identity(), (4, 4, 4), np.eye(4)
    ),
    "five parameters": lambda: rigid_matrix(np.zeros((1, 5)), np.zeros(3)),
    "flat centre": lambda: affine_matrix(np.zeros((1, 12)), np.zeros(2)),
    "singular moving": lambda: sampling_points((4, 4), np.eye(3), np.diag([1.0, 0, 1])),
    "3D matrix in 2D": lambda: sampling_points((4, 4), np.eye(3), np.eye(4)),
    "2D field in 3D": lambda: jacobian_determinant(np.zeros((1, 4, 4, 4, 2))),
    "flat image": lambda: resample(np.zeros((1, 4, 1)), np.zeros((1, 2, 1))),
    "points of another rank": lambda: resample(np.zeros((1, 4, 4, 1)), np.zeros((1, 2, 3))),
    "points of two": lambda: resample(np.zeros((1, 4, 4, 1)), np.zeros((2, 2, 2))),
    "unknown word": lambda: resample(
        np.zeros((1, 4, 4, 1)), np.zeros((1, 2, 2)), interpolation="sinc"
    ),
    "masked spline": lambda: resample(
        np.zeros((1, 4, 4, 1)), np.zeros((1, 2, 2)), interpolation="cubic", border="mask"
    ),
    "small mask": lambda: resample(
        np.zeros((1, 4, 4, 1)), np.zeros((1, 2, 2)), border="mask", mask=np.ones((1, 3, 3))
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_said(what):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        WRONG[what]()
