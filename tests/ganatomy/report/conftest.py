from pathlib import Path

import pytest

from ganatomy.report import write_report
from tests.ganatomy.report.folders import (
    comparison_folder,
    evaluation_folder,
    model_folder,
    scores_folder,
)

FOLDERS = {
    "model": model_folder,
    "evaluation": evaluation_folder,
    "scores": scores_folder,
    "comparison": comparison_folder,
}


@pytest.fixture(scope="session")
def pages(tmp_path_factory) -> dict[str, Path]:
    """One page of each kind of folder."""
    place = tmp_path_factory.mktemp("reports")
    return {
        name: write_report(make(place / name), place / f"{name}.html")
        for name, make in FOLDERS.items()
    }
