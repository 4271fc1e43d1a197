"""One folder of results as one HTML file that needs nothing else."""

import base64
import hashlib
import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ganatomy.measures import roc_band
from ganatomy.report.card import render_card
from ganatomy.report.cards import example_cards
from ganatomy.report.comparison import comparison_section, comparison_verdict
from ganatomy.report.figures import distribution, roc
from ganatomy.report.folder import Findings, read_folder
from ganatomy.report.pixels import pixel_section
from ganatomy.report.registration import (
    evaluation_verdict,
    methods,
    registration_section,
    registration_verdict,
)
from ganatomy.report.scored import Row, Scored, gather_scores, measured_rows
from ganatomy.report.tables import (
    extra_tables,
    measures_table,
    settings_table,
    training_curves,
    worklist_table,
)
from ganatomy.report.translation import (
    translation_methods,
    translation_section,
    translation_verdict,
)
from ganatomy.report.volumes import volume_cards
from ganatomy.report.words import comparison, count, percent, verdict, worklist_verdict

HERE = Path(__file__).parent


def write_report(folder: str | Path, out: str | Path) -> Path:
    """Write what a folder holds as one self-contained HTML file.

    Args:
        folder: of a model, of an evaluation, of several models' evaluations, or of scores.
        out: the HTML file; its folder is made where it is missing.

    Returns:
        The file written. Sections whose files are missing are left out.

    Raises:
        WrongUse: the folder holds nothing to report, or a file in it cannot be read.
    """
    html = _render(read_folder(folder))
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(out.name + ".part")
    unfinished.write_text(html, encoding="utf-8")
    os.replace(unfinished, out)  # a reader never finds half a page
    return out


def _render(findings: Findings) -> str:
    scored = None if findings.scores is None else gather_scores(findings.scores)
    rows = measured_rows(findings, scored)
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    sections = _sections(findings, scored, rows)
    # Names of scans are escaped; should one slip through, the browser still runs and loads
    # nothing but what these hashes name.
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        folder=findings.folder.resolve().name,
        contents=_contents(sections),
        **_head(findings, scored, rows),
        **sections,
    )


def _head(findings: Findings, scored: Scored | None, rows: list[Row]) -> dict[str, Any]:
    recipe = findings.config.get("preset")
    recipe = recipe if isinstance(recipe, dict) else {"name": recipe}
    preset = _text(findings.measures.get("preset")) or _text(recipe.get("name"))
    preset = preset or _text(findings.registration.get("model"))
    made_by = findings.measures.get("model") or findings.config.get("model") or recipe.get("model")
    model = _text(made_by).rpartition(":")[2]
    heading = preset or model or findings.folder.resolve().name
    comparisons = []
    if rows and "auroc" in rows[0].measures:
        healthy, abnormal = _numbers(findings, scored)
        said = verdict(rows[0].measures, healthy, abnormal)
        comparisons = [
            comparison(
                rows[0].measures["auroc"],
                row.measures["auroc"],
                f"the {row.name.removesuffix(' control')} control",
                row.difference,
            )
            for row in rows[1:]
            if "linear" in row.name.lower() and "auroc" in row.measures
        ]
    elif findings.measures.get("task") == "register":
        said = evaluation_verdict(findings.measures)
    elif findings.registration:
        said = registration_verdict(findings.registration)
    elif findings.translations or findings.measures.get("task") == "translate":
        said = translation_verdict(findings.translations, findings.measures)
    elif findings.compared:
        said = comparison_verdict(findings.compared)
    elif scored is not None:
        flagged = None if scored.flagged is None else int(scored.flagged.sum())
        said = worklist_verdict(len(scored), flagged)
    else:
        said = "Not evaluated yet: this folder holds neither scores nor measures."
    kind = "evaluation" if rows else "scores" if scored else ""
    kind = "comparison" if findings.compared and not kind else kind
    return {
        "kind": _task(findings) + (f" · {kind}" if kind else ""),
        "heading": heading,
        "subtitle": f"Model {model}" if model and model != heading else "",
        "verdict": said,
        "comparisons": comparisons,
        "remarks": [str(line) for line in findings.registration.get("remarks", [])],
        "unlike": _unlike(scored),
        "left_out": _left_out(findings, scored),
    }


def _task(findings: Findings) -> str:
    recipe = findings.config.get("preset")
    task = recipe.get("task") if isinstance(recipe, dict) else findings.measures.get("task")
    if findings.compared and task is None:
        task = findings.compared[0].record.get("task")
    registers = bool(findings.registration) or task == "register"
    if findings.translations or task == "translate":
        return "Translation"
    return "Registration" if registers else "Anomaly detection"


def _unlike(scored: Scored | None) -> str:
    """Said where more scans look foreign than the one in a hundred that is to be expected."""
    if scored is None or "unlike" not in scored.columns:
        return ""
    unlike = scored.columns["unlike"].astype(float) > 1
    if scored.labels is not None:
        # Disease changes the look of a scan as well; the healthy ones tell of the source alone.
        unlike = unlike[scored.labels == 0]
    share = float(unlike.mean()) if len(unlike) else 0.0
    if share <= 0.05:
        return ""
    return (
        f"{percent(share)} of these scans do not look like the healthy scans that set the "
        "threshold: another scanner, framing or exposure. Set the threshold again with healthy "
        "scans from here."
    )


def _left_out(findings: Findings, scored: Scored | None) -> dict[str, Any] | None:
    """Scans that could not be read or scored, with the reasons that are known."""
    failed = findings.measures.get("failed")
    reasons = [str(line) for line in failed] if isinstance(failed, list) else []
    n = len(reasons) + (0 if scored is None else scored.failed)
    if not n:
        return None
    have = "has no score and is" if n == 1 else "have no score and are"
    return {"said": f"{count(n, 'scan')} {have} left out.", "scans": reasons}


def _sections(findings: Findings, scored: Scored | None, rows: list[Row]) -> dict[str, Any]:
    healthy, abnormal = _numbers(findings, scored)
    has_patients = scored is not None and scored.patients is not None
    resampled = "patients" if findings.measures.get("patients", has_patients) else "scans"
    shown: dict[str, Any] = dict.fromkeys(
        (
            *("measured", "distribution", "distribution_caption", "roc", "worklist", "cards"),
            *("volumes", "curves"),
        )
    )
    if rows:
        left_out = findings.measures.get("controls_left_out")
        shown["measured"] = measures_table(rows, healthy, abnormal, resampled, left_out)
    if scored is not None:
        shown["distribution"] = distribution(scored.scores, scored.labels, scored.threshold)
        shown["distribution_caption"] = _distribution_caption(scored)
        shown["worklist"] = worklist_table(scored)
        if rows and "auroc" in rows[0].measures and scored.labels is not None:
            shown["roc"] = _roc(scored, rows[0]) if scored.both_classes else None
    if findings.examples is not None:
        shown["cards"] = example_cards(findings.examples, scored)
    if findings.volumes is not None:
        shown["volumes"] = volume_cards(findings.volumes, scored)
    if findings.history is not None:
        shown["curves"] = training_curves(findings.history)
    return {
        **shown,
        "resampled": resampled,
        "registration": registration_section(findings.registration, findings.planes)
        if findings.registration
        else None,
        "translation": translation_section(findings.translations),
        "comparison": comparison_section(findings.compared),
        "pixels": pixel_section(
            findings.measures.get("pixels"), resampled, findings.measures.get("pixel_fpr")
        ),
        "extra": extra_tables(
            findings.measures.get("extra")
            or methods(findings.measures)
            or translation_methods(findings.measures)
        ),
        "card_html": render_card(findings.card),
        "settings": settings_table(findings.config) if findings.config else None,
    }


def _contents(sections: dict[str, Any]) -> list[tuple[str, str]]:
    places = (
        ("registration", "Registration", "registration"),
        ("translation", "Translations", "translation"),
        ("comparison", "Comparison", "comparison"),
        ("measures", "Measures", "measured"),
        ("scores", "Scores", "distribution"),
        ("pixels", "Lesions", "pixels"),
        ("examples", "Scans", "cards"),
        ("volumes", "Volumes", "volumes"),
        ("worklist", "Worklist", "worklist"),
        ("extra", "Further measures", "extra"),
        ("training", "Training", "curves"),
        ("card", "Model card", "card_html"),
        ("settings", "Settings", "settings"),
    )
    return [(anchor, name) for anchor, name, key in places if sections[key]]


def _roc(scored: Scored, model: Row) -> Markup:
    labels, flagged = scored.labels, scored.flagged
    assert labels is not None
    point = None
    if flagged is not None:
        point = float(flagged[labels == 0].mean()), float(flagged[labels == 1].mean())
    band = roc_band(labels, scored.scores, groups=scored.patients)
    return roc(band, model.measures["auroc"], point)


def _distribution_caption(scored: Scored) -> str:
    if scored.labels is None:
        said = "How many scans have which score."
    else:
        said = "Scores of healthy scans above the axis, of abnormal scans below it, as shares."
    if scored.threshold is not None:
        said += " Scans to the right of the dashed line are called abnormal."
    return said


def _numbers(findings: Findings, scored: Scored | None) -> tuple[int, int]:
    labels = None if scored is None else scored.labels
    held = [0, 0] if labels is None else [int((labels == kind).sum()) for kind in (0, 1)]
    measures = findings.measures
    return int(measures.get("n_healthy", held[0])), int(measures.get("n_abnormal", held[1]))


def _text(entry: Any) -> str:
    return entry if isinstance(entry, str) else ""


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
