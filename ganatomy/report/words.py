"""Measures in plain words."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ganatomy.measures import Interval

# Of pairs of images, beyond those that are looked at first.
FIDELITY = {
    "snr_db": "SNR, dB",
    **{name: name.upper() for name in ("nmse", "uqi", "vif", "fsim", "mi", "nmi")},
}
TITLES = {
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "pixel_auroc": "Pixel AUROC",
    "dice": "Dice at the threshold",
    "dice_a_scan": "Mean Dice of a scan there",
    "pixel_sensitivity": "Lesion pixels found",
    "pixel_specificity": "Other pixels passed",
    "best_dice_oracle": "Best Dice (oracle)",
    "mae": "MAE",
    "rmse": "RMSE",
    "psnr_db": "PSNR, dB",
    "ssim": "SSIM",
    **FIDELITY,
}


def title(name: str) -> str:
    """A measure's name as a heading: `average_precision` becomes `Average precision`."""
    plain = name.replace("_", " ").strip()
    return TITLES.get(name, plain[:1].upper() + plain[1:])


def number(value: float) -> str:
    """Three significant digits, without an exponent where that stays short."""
    value = float(value)
    if not np.isfinite(value):
        return "–"
    if abs(value) < 1000:
        value = float(f"{value:.3g}")  # 99.96 has the decimals of 100
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000 and size < 1e6:
        return f"{value:,.0f}".replace("-", "−")
    if size >= 1e-4 and size < 1e6:
        decimals = max(0, 2 - int(np.floor(np.log10(size))))
        return f"{value:.{decimals}f}".replace("-", "−")
    return f"{value:.1e}".replace("-", "−")


def decimal(value: float) -> str:
    """A share between 0 and 1 in two decimals, in three where two would round to 0 or 1."""
    rounded = f"{value:.2f}"
    exact = 0 < value < 1 and rounded in ("0.00", "1.00")
    return f"{value:.3f}" if exact else rounded.replace("-", "−")


def signed(value: float) -> str:
    """A difference of two shares, with its sign."""
    return f"{value:+.3f}".replace("-", "−")


def p_value(value: float) -> str:
    """A p-value in three decimals."""
    return "under 0.001" if value < 0.001 else f"{value:.3f}"


def percent(share: float) -> str:
    """A share in whole percent, in tenths where whole percent would say none or all."""
    exact = 0 < share < 0.01 or 0.99 < share < 1
    return f"{100 * share:.{1 if exact else 0}f}\u00a0%"  # never split over two lines


def interval(measured: Interval) -> str:
    """A value with its interval, where that has a width."""
    if not measured.has_width:
        return decimal(measured.value)
    between = "–" if measured.low >= 0 else " to "
    return f"{decimal(measured.value)} ({decimal(measured.low)}{between}{decimal(measured.high)})"


def as_interval(record: Any) -> Interval | None:
    """What a measures file says of one measure, or None where that is no interval."""
    if isinstance(record, Interval):
        return record
    if isinstance(record, Mapping) and {"value", "low", "high"} <= set(record):
        return Interval.from_dict(record)
    return None


def count(n: int, thing: str) -> str:
    """`1 scan`, `2 scans`."""
    return f"{n:,} {thing}" + ("" if n == 1 else "s")


def verdict(measures: Mapping[str, Interval], n_healthy: int, n_abnormal: int) -> str:
    """What was measured, in one or two sentences."""
    auroc = measures["auroc"]
    said = (
        f"AUROC {decimal(auroc.value)}"
        f" (95\u00a0% interval {decimal(auroc.low)}–{decimal(auroc.high)})"
        f" on {n_healthy:,} healthy and {count(n_abnormal, 'abnormal scan')}"
    )
    if "sensitivity" in measures and "specificity" in measures:
        flagged = percent(1 - measures["specificity"].value)
        found = percent(measures["sensitivity"].value)
        said += (
            f"; at the threshold {flagged} of the healthy are flagged"
            f" and {found} of the abnormal are found"
        )
    if auroc.low <= 0.5:
        said += ". This is not shown to be better than guessing"
    return said + "."


def worklist_verdict(n: int, flagged: int | None) -> str:
    """What can be said of scans without labels."""
    unknown = "Without labels, nothing here says how often the model is right."
    if flagged is None:
        return f"{count(n, 'scan')} scored, most abnormal first. {unknown}"
    scores = "scores" if flagged == 1 else "score"
    return f"{flagged:,} of {count(n, 'scan')} {scores} above the threshold. {unknown}"


def comparison(
    model: Interval, control: Interval, name: str, difference: Interval | None
) -> tuple[bool, str]:
    """Whether the network beats a control, said plainly.

    Args:
        model: the model's AUROC.
        control: the control's AUROC.
        name: what the control is called, as in "the linear control".
        difference: AUROC of the model minus that of the control on the same resamples, where
            it was measured.

    Returns:
        Whether the network is shown to be better, and the sentence.
    """
    against = f"AUROC {decimal(model.value)} against {decimal(control.value)}"
    if difference is not None:
        against += f", difference {signed(difference.low)} to {signed(difference.high)}"
        gain, shown = difference.value, difference.low > 0
    else:
        gain, shown = model.value - control.value, model.low > control.high
    if gain <= 0:
        return False, f"The network does not beat {name}: {against}."
    if not shown:
        return False, f"The network is not shown to beat {name}: {against}."
    return True, f"The network beats {name}: {against}."
