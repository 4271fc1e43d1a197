"""Pictures as a named network sees them: features of sets, and distances of pairs.

It starts TensorFlow; the measures of what comes out are in `distribution`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from ganatomy.measures.measure import Measure

SIZE = 64  # pixels a side for sets: what the shipped network was trained on
LARGEST = 256  # pixels of the longer side for pairs
BATCH = 32
# The activation whose means over the picture are a set's features.
OF_SETS = {"mednist": "pooled", "vgg19": "block5_pool"}
OF_PAIRS = {
    "mednist": ("block1", "block2", "block3", "block4"),
    "vgg19": ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3"),
}


def network_features(image, low: float, high: float, name: str = "mednist") -> np.ndarray:
    """Features of every picture in an image, for FID and KID.

    Args:
        image: [*grid, C]; each slice along the last axis and each channel is a picture. Pictures of
            one intensity (air) are left out.
        low: the intensity that the network sees as -1.
        high: as 1; what is beyond is cut off.
        name: of the feature network, see `ganatomy.networks.features.feature_network`.

    Returns:
        [pictures, d].
    """
    network = _network(name, (OF_SETS[name],))
    pages = [p for p in _pages(image, low, high) if p.min() < p.max()]
    found = [
        v.mean(axis=tuple(range(1, v.ndim - 1)))
        for v in (_seen(network, batch)[0] for batch in _batches(_resized(p, SIZE) for p in pages))
    ]
    return np.concatenate(found) if found else np.zeros((0, _width(network)))


def of_sets(name: str) -> str:
    """What features are called in the names of measures: network, activation and size."""
    return f"{name}:{OF_SETS[name]}@{SIZE}"


def feature_distance(
    found, truth, low: float, high: float, name: str = "mednist"
) -> Measure | None:
    """How different two aligned images look to a network, in the manner of LPIPS.

    At each place the activations are scaled to length 1; their squared differences are summed over
    channels and averaged over places, and all layers summed. LPIPS weighs channels by what people
    judged; here all weigh 1.

    Args:
        found: [*grid, C].
        truth: the same.
        low: as in `network_features`.
        high: as there.
        name: as there.

    Returns:
        The mean over pictures; None for pictures of less than 16 pixels a side.

    Reference: Zhang et al. 2018, equation 1 with w = 1; M15 of Yi, Walia, Babyn 2019.
    """
    if min(np.shape(found)[:2]) < 16:
        return None
    network = _network(name, OF_PAIRS[name])
    longest = max(np.shape(found)[:2])
    share = min(1.0, LARGEST / longest)
    pages = (
        p if share == 1 else _resized(p, *(max(16, round(n * share)) for n in p.shape))
        for pair in zip(_pages(found, low, high), _pages(truth, low, high), strict=True)
        for p in pair
    )
    values = []
    for batch in _batches(pages):  # of pairs, one after the other
        layers = [_unit(layer) for layer in _seen(network, batch)]
        apart = [((v[::2] - v[1::2]) ** 2).sum(-1).mean((1, 2)) for v in layers]
        values.append(np.sum(apart, axis=0))
    how = f"longer side at most {LARGEST} pixels, {low:g} to {high:g} as -1 to 1"
    return Measure(
        f"perceptual[{name}]",
        float(np.mean(np.concatenate(values))),
        f"LPIPS without its weights, layers {', '.join(OF_PAIRS[name])}; {how}",
    )


@functools.cache
def _network(name: str, taps: tuple[str, ...]) -> Any:
    from ganatomy.networks.features import feature_network

    return feature_network(name, taps)


def _seen(network: Any, pictures: np.ndarray) -> list[np.ndarray]:
    found = network(pictures[..., None].astype(np.float32), training=False)
    return [np.asarray(found[name]) for name in found]


def _width(network: Any) -> int:
    return next(iter(network.output.values())).shape[-1]


def _pages(image, low: float, high: float) -> list[np.ndarray]:
    image = np.asarray(image, np.float32)
    image = np.clip(2 * (image - low) / (high - low) - 1, -1, 1)
    return list(np.moveaxis(image.reshape(*image.shape[:2], -1), -1, 0))


def _resized(page: np.ndarray, *size: int) -> np.ndarray:
    from skimage.transform import resize

    wanted = size if len(size) == 2 else size * 2
    if page.shape == wanted:
        return page
    return np.asarray(resize(page, wanted, order=1, anti_aliasing=True))


def _batches(pages: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    held = []
    for page in pages:
        held.append(page)
        if len(held) == BATCH:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.sqrt((values**2).sum(-1, keepdims=True) + 1e-10)
