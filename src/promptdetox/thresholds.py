"""Choose a threshold on labelled texts: what it finds, and what it blames wrongly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptdetox.config import DetectConfig
from promptdetox.detect import Detector
from promptdetox.errors import ConfigError, DataError
from promptdetox.records import read_records

_TRUE, _FALSE = (
    ("1", "1.0", "true", "yes", "toxic"),
    ("0", "0.0", "false", "no", "neutral", "clean"),
)


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What a threshold does on labelled texts.

    Attributes:
        threshold: Score from which a text is called toxic. Range: 0..1.
        recall: Share of the toxic texts that are found. Higher is better.
        recall_interval: 95 % (Wilson 1927).
        false_positive_rate: Share of the other texts that are called toxic. Lower is better.
        false_positive_interval: 95 % (Wilson 1927).
        precision: Share of the texts called toxic that are. Higher is better.
        f1: Of precision and recall.
        n_toxic: Toxic texts.
        n_clean: Other texts.
    """

    threshold: float
    recall: float
    recall_interval: tuple[float, float]
    false_positive_rate: float
    false_positive_interval: tuple[float, float]
    precision: float
    f1: float
    n_toxic: int
    n_clean: int


def find_threshold(
    scores: Sequence[float],
    labels: Sequence[bool],
    *,
    max_false_positives: float | None = None,
    min_recall: float | None = None,
) -> OperatingPoint:
    """Return the best threshold.

    Args:
        scores: Of each text, higher is more toxic.
        labels: True for a toxic text.
        max_false_positives: Find as many toxic texts as this false-positive rate allows.
        min_recall: Blame as few other texts as this recall allows. With neither, the best F1.

    Raises:
        DataError: All texts are toxic, or none; or no threshold does what is asked.
    """
    import numpy as np

    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
    if truth.all() or not truth.any():
        kind = "toxic" if truth.any() else "clean"
        raise DataError(f"all {len(truth)} texts are labelled {kind}: expected some of both kinds.")
    # Halfway between neighbours, so that texts like these fall on the right side.
    unique = np.unique(values)
    cuts = np.concatenate([(unique[1:] + unique[:-1]) / 2, [min(1.0, unique[-1])]])
    cuts = np.concatenate([[unique[0]], cuts])
    cuts = cuts[cuts > 0]
    if not len(cuts):
        raise DataError(f"all {len(truth)} texts have the score 0: no threshold tells them apart.")
    positive, negative = np.sort(values[truth]), np.sort(values[~truth])
    recall = 1 - np.searchsorted(positive, cuts) / len(positive)
    false_positives = 1 - np.searchsorted(negative, cuts) / len(negative)
    found = recall * len(positive)
    called = np.maximum(found + false_positives * len(negative), 1e-9)
    f1 = 2 * found / (called + len(positive))
    if max_false_positives is not None:
        fits = false_positives <= max_false_positives
        wanted = f"at most {max_false_positives:.1%} false positives"
        goal = recall
    elif min_recall is not None:
        fits = recall >= min_recall
        wanted, goal = f"a recall of {min_recall:.1%}", -false_positives
    else:
        fits, wanted, goal = recall >= 0, "", f1
    if not fits.any():
        raise DataError(f"no threshold gives {wanted} on these {len(truth)} texts: ask for less.")
    at = int(np.where(fits, goal, -np.inf).argmax())
    cut = float(cuts[at])
    return OperatingPoint(
        threshold=cut,
        recall=float(recall[at]),
        recall_interval=_interval(values[truth] >= cut),
        false_positive_rate=float(false_positives[at]),
        false_positive_interval=_interval(values[~truth] >= cut),
        precision=float(found[at] / called[at]),
        f1=float(f1[at]),
        n_toxic=len(positive),
        n_clean=len(negative),
    )


def _interval(hits: Any) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927), which a share of 0 or 1 has too."""
    n, share, z = len(hits), float(hits.mean()), 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def score_labelled(
    path: Path,
    config: DetectConfig,
    *,
    category: str,
    label_column: str,
    text_column: str = "text",
) -> tuple[list[float], list[bool]]:
    """Return (scores, labels) of a labelled file.

    Args:
        path: With a column of labels: 1 or 0, true or false, yes or no, toxic or clean.
        config: Of the detector.
        category: Which score.
        label_column: Name of the column.
        text_column: Name of the text's.

    Raises:
        ConfigError: The detector has no such score.
        DataError: A label is missing or none of these, or there is no text.
        FileError: The file cannot be read.
    """
    texts, labels = [], []
    for record in read_records(path, text_column=text_column):
        row = record.row.as_dict()
        if label_column not in row:
            raise DataError(
                f"{path}: expected the column {label_column!r}, got {', '.join(row)}: name it "
                "with --label-column."
            )
        value = str(row[label_column]).strip().lower()
        if value not in (*_TRUE, *_FALSE):
            raise DataError(
                f"{path}, line {record.line}: the label is {row[label_column]!r}; expected 1 or "
                "0, true or false, yes or no, toxic or clean."
            )
        texts.append(record.text or "")
        labels.append(value in _TRUE)
    if not texts:
        raise DataError(f"{path} has no texts: expected labelled ones.")
    found = Detector.from_config(config).detect(texts)
    if category not in found[0].scores:
        raise ConfigError(
            f"{config.detector_name} does not score {category}: expected one of "
            f"{', '.join(found[0].scores) or 'nothing'}."
        )
    return [detection.scores[category] for detection in found], labels
