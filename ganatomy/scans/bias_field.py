"""The slow change of brightness that the coils of an MR scanner leave, taken away."""

import numpy as np

from ganatomy.scans.masks import find_mask
from ganatomy.scans.resample import along_axes, antialias, weights

# The field is told on a grid no finer than this a side, in no more steps than these at each of
# four resolutions: that bounds the time of a scan of any size.
SIDE = 32
STEPS = (30, 30, 20, 10)


def without_bias_field(pixels: np.ndarray, spacing: tuple[float, ...] | None) -> np.ndarray:
    """Pixels divided by a smooth field of mean 1 (geometric, over the body), channel by channel.

    Found on a shrunk image inside its body mask and applied at full size by linear interpolation.
    On one thread and without random numbers: a scan always gives the same.

    Args:
        pixels: `[i, j(, k), c]`, MR magnitudes of 0 or more.
        spacing: mm a pixel along each axis; None where it is unknown.

    Raises:
        ValueError: values below 0, of which no factor can be told, or nothing to see.

    Reference: Tustison et al., IEEE Transactions on Medical Imaging 29, 2010 (N4).
    """
    if pixels.min() < 0:
        raise ValueError("values below 0")
    pitch = spacing or (1.0,) * (pixels.ndim - 1)
    channels = [_corrected(pixels[..., c], pitch) for c in range(pixels.shape[-1])]
    return np.stack(channels, axis=-1)


def _corrected(image: np.ndarray, pitch: tuple[float, ...]) -> np.ndarray:
    import SimpleITK as sitk

    counts = [min(n, SIDE) for n in image.shape]
    steps = np.array(image.shape) / counts
    down = [
        weights((np.arange(count) + 0.5) * step - 0.5, n, antialias(step))
        for n, count, step in zip(image.shape, counts, steps, strict=True)
    ]
    small = along_axes(image.astype(np.float32), down)
    # B-splines need more than one pixel along an axis.
    wide = [axis for axis, count in enumerate(counts) if count > 1]
    flat = small.reshape([counts[axis] for axis in wide])
    size = tuple(float(pitch[axis] * steps[axis]) for axis in wide)
    body = find_mask(flat, "body", size) & (flat > 0)

    def image_of(array: np.ndarray) -> sitk.Image:
        made = sitk.GetImageFromArray(array)
        made.SetSpacing(size[::-1])
        return made

    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetNumberOfThreads(1)
    corrector.SetMaximumNumberOfIterations(STEPS)
    flat_image = image_of(flat)
    corrector.Execute(flat_image, image_of(body.astype(np.uint8)))
    field = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(flat_image))
    field = (field - field[body].mean()).astype(np.float32).reshape(small.shape)
    up = [
        weights((np.arange(n) + 0.5) / step - 0.5, count)
        for n, step, count in zip(image.shape, steps, counts, strict=True)
    ]
    return image / np.exp(along_axes(field, up))
