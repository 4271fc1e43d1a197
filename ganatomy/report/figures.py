"""Figures as inline SVG: crisp at any size, coloured by the page's own style sheet."""

from collections.abc import Iterable, Mapping

import numpy as np
from markupsafe import Markup, escape

from ganatomy.measures import FrocBand, Interval, RocBand
from ganatomy.report.words import count, decimal, number, percent


def ticks(low: float, high: float, about: int = 5) -> np.ndarray:
    """Round numbers from low to high, in steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(s for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    return np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step


def tick_texts(marks: np.ndarray) -> list[str]:
    """The ticks in words, all with as many decimals as their steps need."""
    step = abs(marks[1] - marks[0]) if len(marks) > 1 else abs(marks[0]) or 1.0
    largest = np.abs(marks).max()
    if largest >= 1e6 or step < 1e-4:
        return [f"{mark:.1e}".replace("-", "−") if mark else "0" for mark in marks]
    decimals = max(0, -int(np.floor(np.log10(step) + 1e-9)))
    # Adding 0 takes the sign from a zero that rounding left negative.
    return [f"{round(mark, decimals) + 0.0:,.{decimals}f}".replace("-", "−") for mark in marks]


def distribution(
    scores: np.ndarray, labels: np.ndarray | None, threshold: float | None, bins: int = 36
) -> Markup:
    """Histogram of the scores: healthy above the axis, abnormal below, or all together.

    Args:
        scores: finite scores, [scans].
        labels: 0 healthy, 1 abnormal, [scans]; None where nobody knows.
        threshold: drawn as a line, if there is one.
    """
    width, height, left, right, top, bottom = 480, 330, 12, 12, 40, 62
    low, high, beyond = _score_range(scores, threshold)
    edges = np.linspace(low, high, bins + 1)
    if labels is None:
        kinds = [("scan", "neutral", np.ones(len(scores), bool), 1)]
    else:
        kinds = [("healthy", "healthy", labels == 0, 1), ("abnormal", "abnormal", labels == 1, -1)]
    kinds = [kind for kind in kinds if kind[2].any()]
    # Shares, not counts: the classes are rarely equally large.
    held = np.clip(scores, low, high)
    shares = [np.histogram(held[kind[2]], edges)[0] / kind[2].sum() for kind in kinds]
    reach = {way: share.max() for (*_, way), share in zip(kinds, shares, strict=True)}
    scale = (height - top - bottom) / sum(reach.values())
    middle = top + scale * reach.get(1, 0)
    x = _axis(low, high, left, width - right)
    floor = height - bottom

    drawn, told = [], []
    for (name, style, member, way), share in zip(kinds, shares, strict=True):
        for k in np.flatnonzero(share):
            tall = max(share[k] * scale, 1.0)
            at, wide = x(edges[k]) + 0.5, x(edges[k + 1]) - x(edges[k]) - 1
            y = middle - tall if way > 0 else middle
            drawn.append(
                f'<rect class="bar {style}" x="{at:.1f}" y="{y:.1f}"'
                f' width="{wide:.1f}" height="{tall:.1f}"/>'
            )
        n = int(member.sum())
        text = count(n, "scan") if name == "scan" else f"{n:,} {name}"
        if threshold is not None:
            text += f", {percent(float((scores[member] > threshold).mean()))} above the threshold"
        told.append(text)
        drawn.append(_text(left, 14 if way > 0 else floor + 18, text, f"label {style}"))
    drawn.append(_line(left, middle, width - right, middle, "axis"))
    below = floor + 24 if -1 in reach else floor + 2
    drawn.append(_line(left, below, width - right, below, "axis faint"))
    marks = ticks(low, high)
    for tick, text in zip(marks, tick_texts(marks), strict=True):
        drawn.append(_line(x(tick), below, x(tick), below + 4, "axis"))
        drawn.append(_text(x(tick), below + 17, text, "tick", "middle"))
    note = f" ({count(beyond, 'score')} beyond an edge, counted in its bar)" if beyond else ""
    drawn.append(_text(width / 2, below + 34, f"anomaly score{note}", "tick", "middle"))
    if threshold is not None:
        drawn.append(_line(x(threshold), top - 16, x(threshold), floor, "threshold"))
        side, shift = ("end", -6) if x(threshold) > width * 0.6 else ("start", 6)
        text = f"threshold {number(threshold)}"
        drawn.append(_text(x(threshold) + shift, top - 6, text, "mark", side))
    return _svg(width, height, f"Distribution of anomaly scores: {'; '.join(told)}.", drawn)


def roc(band: RocBand, auroc: Interval, point: tuple[float, float] | None) -> Markup:
    """The ROC curve, its 95 % band and the operating point (false, true positive rate)."""
    width, height, left, right, top, bottom = 380, 372, 66, 22, 12, 52
    x = _axis(0, 1, left, width - right)
    y = _axis(0, 1, height - bottom, top)
    drawn = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        drawn.append(_line(left, y(tick), width - right, y(tick), "grid"))
        drawn.append(_line(x(tick), top, x(tick), height - bottom, "grid"))
        drawn.append(_text(left - 6, y(tick) + 4, f"{100 * tick:.0f} %", "tick", "end"))
        drawn.append(_text(x(tick), height - bottom + 18, f"{100 * tick:.0f} %", "tick", "middle"))
    drawn.append(_line(x(0), y(0), x(1), y(1), "chance"))
    drawn.append(_text(x(0.72), y(0.66), "guessing", "tick", "start"))
    upper = [(x(f), y(h)) for f, h in zip(band.fpr, band.high, strict=True)]
    lower = [(x(f), y(v)) for f, v in zip(band.fpr[::-1], band.low[::-1], strict=True)]
    drawn.append(f'<polygon class="band" points="{_points(upper + lower)}"/>')
    curve = [(x(0), y(0)), *((x(f), y(t)) for f, t in zip(band.fpr, band.tpr, strict=True))]
    drawn.append(f'<polyline class="curve" points="{_points(curve)}"/>')
    told = (
        f"ROC curve with its 95 % band, area {decimal(auroc.value)}"
        f" ({decimal(auroc.low)}–{decimal(auroc.high)})"
    )
    if point is not None:
        told += f"; at the threshold {percent(point[0])} of the healthy are flagged"
        told += f" and {percent(point[1])} of the abnormal found"
        drawn.append(f'<circle class="point" cx="{x(point[0]):.1f}" cy="{y(point[1]):.1f}" r="5"/>')
        near = point[0] < 0.6
        drawn.append(
            _text(
                x(point[0]) + (10 if near else -10),
                min(y(point[1]) + 16, height - bottom - 6),
                "at the threshold",
                "mark",
                "start" if near else "end",
            )
        )
    drawn.append(_text(x(0.5), height - 10, "healthy flagged", "tick", "middle"))
    drawn.append(
        f'<text class="tick" text-anchor="middle" transform="translate(14 {y(0.5):.1f})'
        ' rotate(-90)">abnormal found</text>'
    )
    return _svg(width, height, told + ".", drawn)


def froc(band: FrocBand) -> Markup:
    """The free-response curve with its 95 % band; false positives a scan by their logarithm."""
    width, height, left, right, top, bottom = 480, 330, 66, 22, 12, 52
    scale = _axis(np.log2(band.rate[0]), np.log2(band.rate[-1]), left, width - right)
    y = _axis(0, 1, height - bottom, top)
    at = [scale(np.log2(rate)) for rate in band.rate]
    drawn = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        drawn.append(_line(left, y(tick), width - right, y(tick), "grid"))
        drawn.append(_text(left - 6, y(tick) + 4, f"{100 * tick:.0f} %", "tick", "end"))
    names = {0.125: "1/8", 0.25: "1/4", 0.5: "1/2", 1: "1", 2: "2", 4: "4", 8: "8"}
    for rate, name in names.items():
        x = scale(np.log2(rate))
        drawn.append(_line(x, top, x, height - bottom, "grid"))
        drawn.append(_text(x, height - bottom + 18, name, "tick", "middle"))
    upper = [(x, y(value)) for x, value in zip(at, band.high, strict=True)]
    lower = [(x, y(value)) for x, value in zip(at[::-1], band.low[::-1], strict=True)]
    drawn.append(f'<polygon class="band" points="{_points(upper + lower)}"/>')
    curve = [(x, y(value)) for x, value in zip(at, band.sensitivity, strict=True)]
    drawn.append(f'<polyline class="curve" points="{_points(curve)}"/>')
    middle = (left + width - right) / 2
    drawn.append(_text(middle, height - 10, "false positives a scan", "tick", "middle"))
    drawn.append(
        f'<text class="tick" text-anchor="middle" transform="translate(14 {y(0.5):.1f})'
        ' rotate(-90)">lesions found</text>'
    )
    ends = [percent(band.sensitivity[place]) for place in (0, -1)]
    told = (
        f"Free-response curve with its 95 % band: {ends[0]} of the lesions are found at "
        f"{number(band.rate[0])} false positives a scan, {ends[1]} at {number(band.rate[-1])}."
    )
    return _svg(width, height, told, drawn)


def interval_mark(measured: Interval, low: float, high: float) -> Markup:
    """A value as a dot on its interval as a line, on a scale from low to high."""
    width, height = 150, 18
    x = _axis(low, high, 6, width - 6)

    def at(value: float) -> float:
        return float(x(np.clip(value, low, high)))

    told = f"{decimal(measured.value)}, interval {decimal(measured.low)}–{decimal(measured.high)}"
    drawn = [
        _line(6, 9, width - 6, 9, "grid"),
        _line(x(low), 5, x(low), 13, "grid"),
        _line(x(high), 5, x(high), 13, "grid"),
        _line(at(measured.low), 9, at(measured.high), 9, "whisker"),
        f'<circle class="point" cx="{at(measured.value):.1f}" cy="9" r="4"/>',
    ]
    return _svg(width, height, told, drawn)


def training_curve(steps: np.ndarray, values: np.ndarray, name: str) -> Markup:
    """One term over the steps of training; a gap where it was not computed."""
    width, height, left, right, top, bottom = 300, 150, 46, 14, 10, 28
    steps, values = _thinned(steps, values)
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    first, last = float(steps[0]), float(steps[-1])
    x = _axis(first, last if last > first else first + 1, left, width - right)
    y = _axis(low, high, height - bottom, top)
    drawn = []
    marks = ticks(low, high, 4)
    for tick, text in zip(marks, tick_texts(marks), strict=True):
        drawn.append(_line(left, y(tick), width - right, y(tick), "grid"))
        drawn.append(_text(left - 5, y(tick) + 4, text, "tick", "end"))
    for value, side in ((first, "start"), (last, "end")):
        if value != first or side == "start":
            drawn.append(_text(x(value), height - 8, f"{value:,.0f}", "tick", side))
    drawn.append(_text((left + width - right) / 2, height - 8, "step", "tick", "middle"))
    known = np.isfinite(values)
    breaks = np.flatnonzero(np.diff(known.astype(int))) + 1
    for run in np.split(np.arange(len(values)), breaks):
        if known[run[0]]:
            points = [(x(steps[k]), y(values[k])) for k in run]
            if len(points) == 1:
                drawn.append(
                    f'<circle class="point" cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}"'
                    ' r="2.5"/>'
                )
            else:
                drawn.append(f'<polyline class="curve thin" points="{_points(points)}"/>')
    told = f"{name} from {number(finite[0])} at the first to {number(finite[-1])} at the last step"
    return _svg(width, height, told, drawn)


def profile(lines: Mapping[str, np.ndarray], length: float, units: str) -> Markup:
    """Values along a row of images: the output's line drawn, the target's dashed.

    Args:
        lines: 'output' and perhaps 'target', [n] each.
        length: of the row, mm or pixels.
        units: of the values; empty where unknown.
    """
    width, height, left, right, top, bottom = 480, 170, 62, 14, 24, 30
    every = np.concatenate(list(lines.values()))
    low, high = float(every.min()), float(every.max())
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    x, y = _axis(0, length, left, width - right), _axis(low, high, height - bottom, top)
    drawn = []
    marks = ticks(low, high, 4)
    for tick, text in zip(marks, tick_texts(marks), strict=True):
        drawn.append(_line(left, y(tick), width - right, y(tick), "grid"))
        drawn.append(_text(left - 6, y(tick) + 4, text, "tick", "end"))
    for tick, text in zip(along := ticks(0, length), tick_texts(along), strict=True):
        drawn.append(_text(x(tick), height - 8, text, "tick", "middle"))
    drawn.append(_text(left, 14, units, "tick"))
    for place, (name, values) in enumerate(lines.items()):
        style = "curve thin" if name == "output" else "threshold"
        at = (np.arange(len(values)) + 0.5) * length / len(values)
        points = _points((x(a), y(v)) for a, v in zip(at, values, strict=True))
        drawn.append(f'<polyline class="{style} line" points="{points}"/>')
        drawn.append(_line(300 + 90 * place, 10, 325 + 90 * place, 10, style))
        drawn.append(_text(330 + 90 * place, 14, name, "tick"))
    ends = ", ".join(f"{n} from {number(v.min())} to {number(v.max())}" for n, v in lines.items())
    return _svg(width, height, f"Line profile: {ends}", drawn)


def plane(
    points: Mapping[str, tuple[Interval, Interval]], across: str, up: str, told: str
) -> Markup:
    """Points with their intervals by two measures, each with its short name beside it.

    Args:
        points: by name, the measure from left to right and the one from below up; an interval of
            no width is drawn without ends.
        across: what the first is.
        up: what the second is.
        told: the whole figure in words, for who cannot see it.
    """
    width, height, left, right, top, bottom = 360, 320, 60, 18, 14, 46
    ends = []
    for of in zip(*points.values(), strict=True):
        low, high = min(one.low for one in of), max(one.high for one in of)
        slack = 0.08 * (high - low) or 0.08 * abs(high) or 1.0
        ends.append((low - slack, high + slack))
    (first, last), (bottom_end, top_end) = ends
    x = _axis(first, last, left, width - right)
    y = _axis(bottom_end, top_end, height - bottom, top)
    drawn = []
    marks = ticks(bottom_end, top_end, 4)
    for tick, text in zip(marks, tick_texts(marks), strict=True):
        drawn.append(_line(left, y(tick), width - right, y(tick), "grid"))
        drawn.append(_text(left - 6, y(tick) + 4, text, "tick", "end"))
    marks = ticks(first, last, 4)
    for tick, text in zip(marks, tick_texts(marks), strict=True):
        drawn.append(_line(x(tick), top, x(tick), height - bottom, "grid"))
        drawn.append(_text(x(tick), height - bottom + 17, text, "tick", "middle"))
    for name, (one, other) in points.items():
        at, level = x(one.value), y(other.value)
        if one.high > one.low:
            drawn.append(_line(x(one.low), level, x(one.high), level, "curve thin"))
        if other.high > other.low:
            drawn.append(_line(at, y(other.low), at, y(other.high), "curve thin"))
        drawn.append(f'<circle class="point" cx="{at:.1f}" cy="{level:.1f}" r="4.5"/>')
        far = at > width * 0.75
        drawn.append(
            _text(at + (-8 if far else 8), level - 7, name, "mark", "end" if far else "start")
        )
    drawn.append(_text((left + width - right) / 2, height - 8, across, "tick", "middle"))
    drawn.append(
        f'<text class="tick" text-anchor="middle" transform="translate(13 '
        f'{(top + height - bottom) / 2:.1f}) rotate(-90)">{escape(up)}</text>'
    )
    return _svg(width, height, told, drawn)


def colour_bar(name: str, stops: list[tuple[str, str]]) -> Markup:
    """A colour scale from left to right; `name` makes its gradient's id."""
    parts = "".join(f'<stop offset="{at}" stop-color="{c}"/>' for at, c in stops)
    drawn = [
        f'<defs><linearGradient id="bar-{name}">{parts}</linearGradient></defs>',
        f'<rect class="frame" x="0.5" y="0.5" width="199" height="13" fill="url(#bar-{name})"/>',
    ]
    return _svg(200, 14, f"Colour scale of the {name}", drawn)


def _score_range(scores: np.ndarray, threshold: float | None) -> tuple[float, float, int]:
    """A range that a few extreme scores do not stretch, and how many lie outside it."""
    q01, q99 = np.quantile(scores, [0.01, 0.99])
    slack = (q99 - q01) / 2
    low = max(float(scores.min()), q01 - slack)
    high = min(float(scores.max()), q99 + slack)
    if threshold is not None:
        low, high = min(low, threshold), max(high, threshold)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    return float(low), float(high), int(((scores < low) | (scores > high)).sum())


def _thinned(steps: np.ndarray, values: np.ndarray, most: int = 240):
    """Means of neighbouring rows, so that a long history stays a small figure."""
    size = -(-len(steps) // most)
    if size == 1:
        return steps, values
    groups = np.arange(len(steps)) // size
    known = np.isfinite(values)
    sums = np.bincount(groups, np.where(known, values, 0))
    counts = np.bincount(groups, known)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return steps[np.minimum((np.arange(len(means)) + 1) * size - 1, len(steps) - 1)], means


def _axis(low: float, high: float, start: float, end: float):
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _line(x1, y1, x2, y2, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}'
        "</text>"
    )


def _svg(width: int, height: int, told: str, drawn: Iterable[str]) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(told)}">'
        f"{''.join(drawn)}</svg>"
    )
