"""The model card: what a model is, what it was trained on, measured to do, and not for.

Reference: Mitchell et al., "Model cards for model reporting", FAccT 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganatomy.registry import Preset

LIMITS = {
    "detect": (
        "- It knows what it was trained on. Scans of other ages, views, scanners or exposures may "
        "look abnormal for that alone; the column `unlike` above 1 says so.",
        "- A high score says that a scan differs from healthy ones, not what is wrong with it.",
        "- Differences between hospitals or groups can pass for disease: compare with the "
        "controls in the report.",
    ),
    "register": (
        "- It knows what it was trained on: other contrasts, body parts, spacings or fields of "
        "view may fail, and so may displacements larger than in training.",
        "- The probability of failure is of the kind of transforms it was calibrated on. Look at "
        "the pictures in the report before a registration is used.",
        "- A transform that bends may move what is only on one of the scans, a lesion for one.",
    ),
}


def model_card(preset: Preset, facts: Mapping[str, Any]) -> str:
    """The card in markdown.

    Args:
        preset: the recipe as it was run.
        facts: of config.json: seed, data, calibration, measures, training_seconds.
    """
    data = facts.get("data", {})
    lines = [
        f"# {preset.name}",
        "",
        preset.title + ".",
        "",
        f"- Task: {preset.task}",
        f"- Model: `{preset.model}`"
        if preset.model
        else f"- Members: {', '.join(member.name for member in preset.members)}",
        f"- Paper: {preset.paper}",
        f"- Input: {preset.rank}D, {preset.preprocessing.get('size', 'any size')}",
        f"- Seed: {facts.get('seed', 'unknown')}",
        "",
        "## Intended use",
        "",
        "Research. Not a medical device: it was not tested as one, and its output must not decide "
        "what happens to a patient.",
        "",
        "## Training data",
        "",
    ]
    roles = "; ".join(f"{role}: {what}" for role, what in preset.roles.items())
    lines += [f"- Roles: {roles}"]
    if data:
        known = "known" if data.get("patients_known") else "not known, so scans were split"
        lines += [
            f"- {data['scans']} scans trained on ({data['samples']} samples), "
            f"{data['held_out']} held out; patients {known}",
        ]
        lines += [
            f"- {role}: {own['scans']} scans ({own['samples']} samples), {own['held_out']} held out"
            for role, own in list(data.get("roles", {}).items())[1:]
        ]
        lines += [f"- Fingerprint: `{data['fingerprint']}`"]
        if data.get("unreadable"):
            lines += [f"- {len(data['unreadable'])} scans could not be read and were left out"]
    if "training_seconds" in facts:
        lines += [f"- Trained for {facts['training_seconds']:.0f} seconds"]
    lines += [
        f"- Choices that saw labels: {preset.labels}",
        "- Licence: the weights are made from these scans; what the scans' licence asks for "
        "(attribution, share-alike) goes with the weights.",
        "",
    ]
    if "calibration" in facts:
        own = facts["calibration"]
        lines += [
            "## Threshold",
            "",
            f"Set on {own['n']} healthy scans that were not trained on, so that about "
            f"{own['fpr']:.0%} of healthy scans from the same source are called abnormal. Another "
            "scanner needs `ganatomy calibrate`.",
            "",
        ]
    if "confidence" in facts:
        own = facts["confidence"]
        limit = "5 mm" + (", of pictures without a spacing 5 pixels" if preset.rank == 2 else "")
        lines += [
            "## Alignment score",
            "",
            f"Calibrated on {own['n']} registrations of held-out scans by transforms that were "
            f"known; {own['failures']} of them had failed, by more than {limit}."
            if not own.get("between_subjects")
            else f"Calibrated on {own['n']} pairs of held-out scans of different subjects, whose "
            "transform nobody knows: displaced by known amounts from where the model itself has "
            f"them, {own['failures']} by more than {limit}. What the model gets wrong there "
            "counts as right.",
            "",
        ]
        if own.get("copies"):
            lines += [
                "Scans that the table pairs with themselves lay on copies of themselves, shaded "
                "anew, with other noise, and bent where the training bends: two scans are less "
                "alike.",
                "",
            ]
    if facts.get("measures"):  # none where all validation scans are abnormal
        lines += ["## Measures", "", "| measure | value | 95 % interval |", "|---|---|---|"]
        lines += [
            f"| {name.replace('_', ' ')} | {m['value']:.3f} | {m['low']:.3f} to {m['high']:.3f} |"
            for name, m in facts["measures"].items()
        ]
        lines += ["", "On the validation scans named at training.", ""]
    lines += ["## Limits", "", *LIMITS.get(preset.task, ())]
    return "\n".join(lines) + "\n"
