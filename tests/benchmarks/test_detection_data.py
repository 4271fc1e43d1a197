"""What the comparison of detectors is measured on."""

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection_data import _planted, read_grey

HELD, KINDS = 16, 4


@pytest.fixture
def images() -> dict[Path, np.ndarray]:
    draw = np.random.default_rng(0)
    made = draw.uniform(60, 180, (4 * HELD, 32, 32)).astype(np.float32)
    return {Path(f"/scans/{n:02d}.png"): np.rint(one) for n, one in enumerate(made)}


def planted(images: dict[Path, np.ndarray], folder: Path, largest: float) -> list[dict[str, str]]:
    folder.mkdir(exist_ok=True)
    task = _planted(
        "Lesions", "pictures", images, folder, sizes=(0.3, largest), settings=(),
        organ=lambda image: np.ones(image.shape, bool),
    )  # fmt: skip
    with open(task.test, newline="") as file:
        rows = list(csv.DictReader(file))
    with open(task.train, newline="") as file:
        trained = {row["scan"] for row in csv.DictReader(file)}
    assert not trained & {row["scan"] for row in rows}
    return [row for row in rows if row["label"] == "1"]


def test_a_planted_lesion_keeps_within_the_values_of_its_picture(images, tmp_path):
    rows = planted(images, tmp_path, 0.5)
    assert len(rows) == HELD // 2
    assert len({row["kind"] for row in rows}) == KINDS
    for row in rows:
        name = Path(row["scan"]).name
        image, shown = images[Path(f"/scans/{name[:2]}.png")], read_grey(Path(row["scan"]))
        mask = read_grey(Path(row["mask"])) > 0
        assert image.min() <= shown.min() <= shown.max() <= image.max()
        assert not np.array_equal(shown[mask], image[mask])
        np.testing.assert_array_equal(shown[~mask], image[~mask])


def test_scans_with_other_lesions_have_other_names(images, tmp_path):
    """Results are kept by these names: those of other lesions would be taken for theirs."""
    first, same, other = (
        {row["scan"] for row in planted(images, tmp_path, largest)} for largest in (0.5, 0.5, 0.4)
    )
    assert first == same
    assert not first & other
