"""Decide how the detector's heads are read, on texts that it did not learn from.

    python recipes/calibrate_detector.py runs/detect-minilm.v1

Reads runs/detector/dev.jsonl (see detector_data.py) and writes into the folder's promptdetox.json,
as ``decision``:

- ``calibration``: slope and intercept of each head's logit (Platt 1999), by logistic regression;
- ``span_threshold``: with the best mean F1 of characters over posts with toxic spans and neutral
  texts without;
- ``thresholds``: of toxicity the best F1 on ParaDetox dev with at most 4 % false positives; of
  hateful the best balanced accuracy, mean over the sets.

Prints the figures before and after.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detector_data import ATTRIBUTES, OUT
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from promptdetox.engines.learnt import load_learnt
from promptdetox.models.catalog import LEARNT_FILE
from promptdetox.normalize import normalize
from promptdetox.spans.learnt import LearntTagger
from promptdetox.spans.lexicon import load_default
from promptdetox.thresholds import find_threshold

MAX_FALSE_POSITIVES = 0.04
SPAN_THRESHOLDS = [round(0.2 + 0.02 * step, 2) for step in range(31)]


def logit(p: float) -> float:
    """Return the inverse of the logistic function."""
    p = min(max(p, 1e-7), 1 - 1e-7)
    return math.log(p / (1 - p))


def fit_platt(scores: Sequence[float], labels: Sequence[float]) -> tuple[float, float]:
    """Return (slope, intercept) of the logit; a soft label counts for both sides, as its share."""
    x = np.array([logit(score) for score in scores])[:, None]
    y = np.asarray(labels, dtype=float)
    model = LogisticRegression(C=1e6)
    model.fit(
        np.concatenate([x, x]),
        np.concatenate([np.ones(len(y)), np.zeros(len(y))]),
        sample_weight=np.concatenate([y, 1 - y]),
    )
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def reliability(scores: Sequence[float], labels: Sequence[float]) -> list[dict[str, float]]:
    """Return mean score, mean label and texts of ten bins of equal width; empty ones are left out.

    Source: DeGroot and Fienberg 1983, https://doi.org/10.2307/2987588
    """
    s, y = np.asarray(scores), np.asarray(labels, dtype=float)
    bins = np.minimum((s * 10).astype(int), 9)
    return [
        {
            "score": round(float(s[bins == at].mean()), 4),
            "label": round(float(y[bins == at].mean()), 4),
            "n": int((bins == at).sum()),
        }
        for at in range(10)
        if (bins == at).any()
    ]


def expected_calibration_error(scores: Sequence[float], labels: Sequence[float]) -> float:
    """Return the mean gap between score and label over the bins of `reliability`.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599
    """
    bins = reliability(scores, labels)
    return sum(abs(b["score"] - b["label"]) * b["n"] for b in bins) / len(scores)


def char_f1(gold: Sequence[Sequence[int]], found: Sequence[Any]) -> float:
    """Return the F1 of characters of one text (Pavlopoulos et al. 2021, SemEval-2021 Task 5)."""
    wanted = {at for start, end in gold for at in range(start, end)}
    got = {at for span in found for at in range(span.start, span.end)}
    if not wanted or not got:
        return float(not wanted and not got)
    return 2 * len(wanted & got) / (len(wanted) + len(got))


def source_of(row: dict[str, Any]) -> str:
    """Return the set that a row is of."""
    return str(row["id"]).split("-")[0]


def main() -> None:
    """Write the decisions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    with (OUT / "dev.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    words = load_default().words
    texts = [normalize(row["text"], words=words).text for row in rows]
    encoder = load_learnt(args.folder)
    readings = LearntTagger(encoder, span_threshold=0.01).read(texts)
    decision: dict[str, Any] = {"calibration": {}, "thresholds": {}}
    scores: dict[str, list[float]] = {}
    for name in (*ATTRIBUTES, "hateful"):
        raw = [reading.scores[name] for reading in readings]
        known = [at for at, row in enumerate(rows) if row.get(name) is not None]
        labels = [rows[at][name] for at in known]
        slope, intercept = fit_platt([raw[at] for at in known], labels)
        scores[name] = [1 / (1 + math.exp(-(slope * logit(p) + intercept))) for p in raw]
        decision["calibration"][name] = [round(slope, 5), round(intercept, 5)]
        before = expected_calibration_error([raw[at] for at in known], labels)
        after = expected_calibration_error([scores[name][at] for at in known], labels)
        print(f"{name}: slope {slope:.2f}, ECE {before:.3f} -> {after:.3f}, {len(known)} texts")
    sources = sorted({source_of(row) for row in rows})
    for name in ("toxicity", "hateful"):
        for source in sources:
            at = [
                i
                for i, row in enumerate(rows)
                if source_of(row) == source and row.get(name) in (0, 1)
            ]
            kinds = {rows[i][name] for i in at}
            if len(kinds) == 2:
                auc = roc_auc_score([rows[i][name] for i in at], [scores[name][i] for i in at])
                print(f"{name} on {source}: AUC {auc:.3f}, {len(at)} texts")
    pairs = [i for i, row in enumerate(rows) if row["id"].endswith(("-text", "-target"))]
    point = find_threshold(
        [scores["toxicity"][i] for i in pairs],
        [bool(rows[i]["toxicity"]) for i in pairs],
        max_false_positives=MAX_FALSE_POSITIVES,
    )
    print("toxicity on paradetox/dev:", point)
    decision["thresholds"]["toxicity"] = round(point.threshold, 4)
    decision["thresholds"]["hateful"] = choose_hateful(rows, scores["hateful"])
    decision["span_threshold"] = choose_span_threshold(encoder, texts, rows)
    path = args.folder / LEARNT_FILE
    learnt = json.loads(path.read_text("utf-8"))
    learnt["decision"] = decision
    path.write_text(json.dumps(learnt, indent=1) + "\n", "utf-8")
    print(json.dumps(decision))


def choose_hateful(rows: Sequence[dict[str, Any]], scores: Sequence[float]) -> float:
    """Return the threshold with the best balanced accuracy, mean over the sets."""
    sets: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        if row.get("hateful") is not None and not row["id"].endswith("-target"):
            sets.setdefault(source_of(row), []).append(at)
    best = (0.0, 0.5)
    for step in range(5, 96):
        cut = step / 100
        balanced = []
        for at in sets.values():
            yes = [scores[i] >= cut for i in at if rows[i]["hateful"]]
            no = [scores[i] < cut for i in at if not rows[i]["hateful"]]
            balanced.append((sum(yes) / len(yes) + sum(no) / len(no)) / 2)
        best = max(best, (sum(balanced) / len(balanced), cut))
    print(f"hateful: balanced accuracy {best[0]:.3f} at {best[1]}, sets {sorted(sets)}")
    return best[1]


def choose_span_threshold(
    encoder: Any, texts: Sequence[str], rows: Sequence[dict[str, Any]]
) -> float:
    """Return the threshold with the best F1 of characters, posts and neutral texts alike."""
    posts = [i for i, row in enumerate(rows) if "spans" in row and row.get("toxicity") == 1]
    clean = [i for i, row in enumerate(rows) if row["id"].endswith("-target")]
    best = (0.0, 0.5)
    for cut in SPAN_THRESHOLDS:
        tagger = LearntTagger(encoder, span_threshold=cut)
        in_posts = [
            char_f1(rows[i]["spans"], spans)
            for i, spans in zip(posts, tagger.tag([rows[i]["text"] for i in posts]), strict=True)
        ]
        in_clean = [not spans for spans in tagger.tag([texts[i] for i in clean])]
        f1, kept = sum(in_posts) / len(in_posts), sum(in_clean) / len(in_clean)
        print(f"span threshold {cut}: F1 {f1:.4f}, neutral texts without a span {kept:.4f}")
        best = max(best, ((f1 + kept) / 2, cut))
    return best[1]


if __name__ == "__main__":
    main()
