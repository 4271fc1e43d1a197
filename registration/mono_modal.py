"""Translate, then register: two scans of two modalities made two of one, by a model of one's name.

Registered is what a translation model makes of the moving scan; moved is the scan itself. Bad
synthesis makes registration worse: a generator that shifts or invents anatomy moves what is
aligned by it, and nothing in the result tells. The method was on a par with registering across
modalities at its best, so the two are always measured beside each other.

Reference: Tanner, Ozdemir, Profanter, Vishnevsky, Konukoglu, Goksel, "Generative adversarial
networks for MR-CT deformable image registration", 2018.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ganatomy.errors import WrongUse
from ganatomy.image_models import image_preset
from ganatomy.scans import Preprocessing

if TYPE_CHECKING:
    from registration.registrar import Registrar


def check_translation(name: str, preprocessing: Preprocessing) -> None:
    """Refuse a translation that the moving scans of a registration model cannot go through.

    Args:
        name: of the translation model.
        preprocessing: of the registration model.

    Raises:
        WrongUse: why.
        ArtifactError: there is no translation model of that name.
    """
    where = f"postprocessing.translate: {name}"
    preset = image_preset(name)
    scan, target = (Preprocessing(**preset.preprocessing_of(role)) for role in ("scan", "target"))
    if scan.rank > preprocessing.rank:
        raise WrongUse(f"{where}: is for volumes, and this model registers pictures")
    if scan.voi != preprocessing.voi:
        raise WrongUse(f"{where}: preprocessing.voi is {scan.voi} there: --set voi={scan.voi}")
    if preprocessing.normalise == "window" and target.normalise != "window":
        raise WrongUse(
            f"{where}: its targets have no window of their own, and this model needs values in the "
            "scan's units: --set normalise=percentile"
        )


def direct(registrar: Registrar) -> Registrar:
    """The same model on the scans as they are, across modalities; not calibrated.

    Args:
        registrar: that translates.
    """
    from registration.registrar import Registrar

    own = registrar.artifact_
    settings = {**own.preset.postprocessing, "translate": None}
    preset = own.preset.model_copy(update={"postprocessing": settings})
    arrays = {
        name: array for name, array in own.arrays.items() if not name.startswith("confidence/")
    }
    return Registrar(replace(own, preset=preset, arrays=arrays))
