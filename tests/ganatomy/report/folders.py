"""Folders as `fit`, `evaluate` and `score` leave them, from generated scans."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from ganatomy.measures import detection_measures, paired_difference

CARD = """# planted-64

Finds what is *unlike* **healthy** scans. Trained on `1,147` scans.

## Intended use

- research on chest radiographs
- never a diagnosis,
  not even a hint of one

| split | scans |
|-------|------:|
| train | 1,147 |
| validation | 444 |

1. Read the [paper](https://example.org/paper).
2. Look at the maps.

```
ganatomy score MODEL scans --out results
```
"""


def scan(rng: np.random.Generator, size: int, lesion: bool) -> tuple[np.ndarray, np.ndarray]:
    """A chest-like picture in [-1, 1] and its reconstruction without the lesion."""
    i, j = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = np.clip(1.15 - np.hypot(i * 0.8, j), 0, 0.4)
    lungs = sum(
        np.exp(-(((j - side) / 0.3) ** 4) - ((i + 0.05 * rng.normal()) / 0.62) ** 4)
        for side in (-0.42, 0.42)
    )
    ribs = 0.08 * np.sin(14 * (i + 0.4 * np.abs(j))) * lungs
    healthy = 2.2 * body - 0.85 * lungs + ribs - 0.2
    shown = healthy + gaussian_filter(rng.normal(size=(size, size)), 1) * 0.08
    if lesion:
        at, side = rng.uniform(-0.4, 0.4), rng.choice([-0.42, 0.42])
        shown = shown + 0.7 * np.exp(-(((i - at) / 0.22) ** 2) - ((j - side) / 0.16) ** 2)
    return np.clip(shown, -1, 1), np.clip(gaussian_filter(healthy, 1), -1, 1)


def scores_table(seed=0, healthy=120, abnormal=150, labels=True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], [healthy, abnormal])
    score = np.exp(0.35 * rng.normal(size=len(label)) + 0.85 * label)
    calm = np.sort(np.exp(0.35 * rng.normal(size=200)))
    table = pd.DataFrame(
        {
            "scan": [f"{'pneumonia' if k else 'normal'}/{n:04d}.jpeg" for n, k in enumerate(label)],
            "label": label,
            "patient": [f"p{n // 2:03d}" for n in range(len(label))],
            "anomaly_score": score,
            "p_value": (1 + 200 - np.searchsorted(calm, score)) / 201,
            "threshold": np.quantile(calm, 0.95),
        }
    )
    table["unlike"] = np.exp(0.3 * rng.normal(size=len(label)) - 0.8)
    table["abnormal"] = table["anomaly_score"] > table["threshold"]
    table["paper_score"] = score * np.exp(0.5 * rng.normal(size=len(label)))
    table = table.sample(frac=1, random_state=seed)
    return table if labels else table.drop(columns=["label", "patient", "paper_score"])


def write_examples(
    folder: Path, table: pd.DataFrame, count=12, size=96, seed=0, seen=False
) -> None:
    rng = np.random.default_rng(seed)
    ordered = table.sort_values("anomaly_score", ascending=False)
    if "label" in ordered:
        kinds = [ordered[ordered["label"] == k] for k in (1, 0)]
        ends = [end for kind in kinds for end in (kind.head(count // 4), kind.tail(count // 4))]
    else:
        ends = [ordered.head(count // 2), ordered.tail(count // 2)]
    chosen = pd.concat(ends)
    lesion = chosen["anomaly_score"] > chosen["threshold"]
    pairs = [scan(rng, size, bool(k)) for k in lesion]
    shown, rebuilt = (np.stack(part).astype(np.float32) for part in zip(*pairs, strict=True))
    residual = shown - rebuilt
    smooth = np.stack([np.abs(gaussian_filter(r, size / 24)) for r in residual]) * 12
    smooth[:, :, : size // 16] = np.nan
    stored = {
        "names": chosen["scan"].to_numpy(str),
        "score": chosen["anomaly_score"].to_numpy(),
        "input": shown,
        "reconstruction": rebuilt,
        "residual": residual,
        "map": smooth,
    }
    if seen:  # the model works on a grid of its own
        small = (slice(None), slice(None, None, 3), slice(None, None, 3))
        stored["seen"] = shown[small]
        stored["reconstruction"], stored["residual"] = rebuilt[small], residual[small]
    if "label" in chosen:
        stored["label"] = chosen["label"].to_numpy()
    np.savez_compressed(folder / "examples.npz", **stored)


def evaluation_folder(folder: Path, seed=0, **examples) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table = scores_table(seed)
    table.to_csv(folder / "scores.csv", index=False)
    labels, scores = table["label"], table["anomaly_score"]
    measured = detection_measures(
        labels, scores, threshold=table["threshold"].iloc[0], groups=table["patient"]
    )
    rival = scores * np.random.default_rng(1).uniform(0.7, 1.4, len(scores))
    linear = detection_measures(labels, rival, groups=table["patient"])
    record = {
        "model": "AdversarialAutoencoder",
        "preset": "chest-xray-32",
        "n_healthy": 120,
        "n_abnormal": 150,
        "patients": True,
        "measures": {name: m.to_dict() for name, m in measured.items()},
        "controls": {
            "linear control": {name: m.to_dict() for name, m in linear.items()}
            | {"auroc_difference": paired_difference(labels, scores, rival).to_dict()}
        },
        "failed": ["normal/0999.jpeg: not an image: the file is empty"],
        "extra": {
            "by_age": [
                {"group": "under 2 years", "scans": 131, "auroc": measured["auroc"].to_dict()},
                {"group": "2 years and older", "scans": 139, "auroc": None},
            ],
            "framing": {"matched": 0.91, "unmatched": measured["auroc"].to_dict()},
            "seeds": 3,
        },
    }
    (folder / "measures.json").write_text(json.dumps(record))
    write_examples(folder, table, **examples)
    return folder


def model_folder(folder: Path, **examples) -> Path:
    evaluation_folder(folder / "evaluation", **examples)
    config = {
        "format": 2,
        "preset": {
            "name": "chest-xray-32",
            "model": "anogan.aae:AdversarialAutoencoder",
            "preprocessing": {"size": [32, 32], "equalise": True},
        },
        "shape": [32, 32, 1],
        "versions": {"keras": "3.15.1", "tensorflow": "2.21.0"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model_card.md").write_text(CARD)
    rng = np.random.default_rng(0)
    steps = np.arange(10, 3010, 10)
    fall = np.exp(-steps / 700)
    history = pd.DataFrame({"step": steps})
    history["autoencoder/image"] = 0.05 + 0.4 * fall + 0.01 * rng.normal(size=300)
    history["autoencoder/adversarial"] = 0.7 + 0.2 * fall + 0.03 * rng.normal(size=300)
    history["critic/adversarial"] = -1.5 * fall + 0.1 * rng.normal(size=300)
    history["critic/penalty"] = np.where(steps < 1500, 0.2 * fall, np.nan)
    history.to_csv(folder / "history.csv", index=False)
    return folder


def scores_folder(folder: Path, seed=0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table = scores_table(seed, labels=False)
    table.to_csv(folder / "scores.csv", index=False)
    write_examples(folder, table, count=6)
    return folder


def comparison_folder(folder: Path, names=("first", "second", "third")) -> Path:
    """Evaluations of several models beside each other, and the first one's AUROC minus others'."""
    pairs, tables = [], {}
    for seed, name in enumerate(names):
        evaluation_folder(folder / name, seed=0)
        tables[name] = scores_table(0)
        tables[name]["anomaly_score"] *= np.random.default_rng(seed).uniform(
            1 - 0.3 * seed, 1 + 0.3 * seed, len(tables[name])
        )
        table, first = tables[name], tables[names[0]]
        auroc = detection_measures(table["label"], table["anomaly_score"], groups=table["patient"])[
            "auroc"
        ]
        file = folder / name / "measures.json"
        record = json.loads(file.read_text())
        record["measures"]["auroc"] = auroc.to_dict()
        file.write_text(json.dumps(record))
        gap = paired_difference(
            table["label"], first["anomaly_score"], table["anomaly_score"], groups=table["patient"]
        )
        pairs.append(
            {
                "of": names[0],
                "minus": name,
                "scans": len(table),
                "measures": {"auroc": gap.to_dict()},
            }
        )
    (folder / "comparison.json").write_text(json.dumps(pairs[1:]))
    return folder
