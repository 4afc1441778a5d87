"""What the detector finds, and how fast: results/detector.json.

    python recipes/bench_detector.py               # the shipped one, beside lexicon-en.v1
    python recipes/bench_detector.py --quick speed # a part, nothing is written

The sets read here trained, chose and calibrated nothing: toxic_spans/dev, hatecheck/sample,
wikipedia_toxicity/test, paradetox/test. rtp/dev chose the step of the training and the calibration.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from bench import ROOT, machine
from calibrate_detector import char_f1, expected_calibration_error, reliability
from detector_data import ATTRIBUTES, read

from promptdetox.detect import Detector

sys.path.insert(0, str(ROOT / "tests"))
TARGETS = (
    "women",
    "trans people",
    "gay people",
    "black people",
    "disabled people",
    "Muslims",
    "immigrants",
)
# Words that name a group; a false positive on them is a bias (Dixon et al. 2018,
# https://doi.org/10.1145/3278721.3278729).
IDENTITY_TERMS = (
    "gay",
    "lesbian",
    "homosexual",
    "transgender",
    "queer",
    "muslim",
    "islam",
    "jew",
    "jewish",
    "christian",
    "catholic",
    "black",
    "white",
    "african",
    "asian",
    "arab",
    "mexican",
    "american",
    "indian",
    "chinese",
    "russian",
    "german",
    "french",
    "english",
    "woman",
    "women",
    "female",
    "man",
    "men",
    "male",
    "girl",
    "boy",
    "old",
    "young",
    "blind",
    "deaf",
    "disabled",
    "immigrant",
)


def f1_of_spans(detector: Detector, texts: Sequence[str], gold: Sequence[Any]) -> float:
    """Return the mean F1 of characters."""
    found = detector.detect(texts)
    return statistics.mean(char_f1(g, d.spans) for g, d in zip(gold, found, strict=True))


def bench_spans(detector: Detector) -> dict[str, Any]:
    """F1 of toxic spans, plain and with every post disguised, and false positives."""
    from disguises import CLEAN_LOOKALIKES, THREATS

    rows = read("toxic_spans/dev.jsonl")
    texts, gold = [row["text"] for row in rows], [row["spans"] for row in rows]
    chance = random.Random(0)
    disguised, moved = [], []
    for text, spans in zip(texts, gold, strict=True):
        changed, places = disguise(text, spans, THREATS, chance)
        disguised.append(changed)
        moved.append(places)
    clean = detector.detect(CLEAN_LOOKALIKES)
    return {
        "rows": len(rows),
        "char_f1": round(f1_of_spans(detector, texts, gold), 4),
        "char_f1_disguised": round(f1_of_spans(detector, disguised, moved), 4),
        "without_gold_span": sum(not spans for spans in gold),
        "clean_look_alikes": len(clean),
        "clean_look_alikes_with_span": sum(bool(d.spans) for d in clean),
        "clean_look_alikes_toxic": sum(d.toxic for d in clean),
    }


def disguise(
    text: str, spans: Sequence[Sequence[int]], threats: Any, chance: random.Random
) -> tuple[str, list[tuple[int, int]]]:
    """Return the text with one edit in every word of its toxic spans, and where the spans are."""
    pieces: list[str] = []
    places, at, length = [], 0, 0
    for start, end in sorted(map(tuple, spans)):
        if start < at:
            continue
        pieces.append(text[at:start])
        length += start - at
        words = []
        for word in text[start:end].split(" "):
            is_word = word.isascii() and word.isalpha() and len(word) > 2
            words.append(chance.choice(threats)[1](word, chance) if is_word else word)
        changed = " ".join(words)
        places.append((length, length + len(changed)))
        pieces.append(changed)
        length += len(changed)
        at = end
    return "".join([*pieces, text[at:]]), places


def bench_hatecheck(detector: Detector) -> dict[str, Any]:
    """Accuracy by function and by target group, of the decisions hateful and toxic."""
    rows = read("hatecheck/sample.jsonl")
    found = detector.detect([row["text"] for row in rows])
    figures: dict[str, Any] = {}
    for decision in ("hateful", "toxic"):
        right: dict[str, list[bool]] = defaultdict(list)
        for row, detection in zip(rows, found, strict=True):
            is_right = getattr(detection, decision) == bool(row["label"])
            kind = "hateful" if row["label"] else "non-hateful"
            for key in (
                "all",
                kind,
                f"function {row['function']}",
                f"target {row['target'] or 'none'}",
            ):
                right[key].append(is_right)
        figures[decision] = {
            key: {"accuracy": round(statistics.mean(map(float, hits)), 4), "n": len(hits)}
            for key, hits in sorted(right.items())
        }
    return {"rows": len(rows), **figures}


def bench_wikipedia(detector: Detector) -> dict[str, Any]:
    """ROC-AUC of toxicity, and false positives by identity term."""
    import re

    from sklearn.metrics import roc_auc_score

    rows = read("wikipedia_toxicity/test.jsonl")
    found = detector.detect([row["text"] for row in rows])
    labels = [int(row["label"]) for row in rows]
    scores = [d.scores["toxicity"] for d in found]
    by_term = {}
    clean = [(row, d) for row, d in zip(rows, found, strict=True) if not row["label"]]
    for term in IDENTITY_TERMS:
        hits = [
            d.toxic for row, d in clean if re.search(rf"\b{term}s?\b", row["text"], re.IGNORECASE)
        ]
        if len(hits) >= 5:
            by_term[term] = {"false_positive_rate": round(sum(hits) / len(hits), 3), "n": len(hits)}
    return {
        "rows": len(rows),
        "auc": round(roc_auc_score(labels, scores), 4),
        "false_positive_rate": round(sum(d.toxic for _, d in clean) / len(clean), 4),
        "recall": round(
            sum(d.toxic for d, y in zip(found, labels, strict=True) if y) / sum(labels), 4
        ),
        "calibration_error": round(expected_calibration_error(scores, labels), 4),
        "reliability": reliability(scores, labels),
        "false_positive_rate_by_term": by_term,
    }


def bench_rtp(detector: Detector) -> dict[str, Any]:
    """Correlation with each attribute, and its calibration."""
    from scipy.stats import spearmanr

    rows = read("rtp/dev.jsonl")
    sides = [(row[s], row[f"{s}_scores"]) for row in rows for s in ("prompt", "continuation")]
    found = detector.detect([text for text, _ in sides])
    figures = {}
    for name in ATTRIBUTES:
        known = [
            (d.scores[name], wanted[name])
            for d, (_, wanted) in zip(found, sides, strict=True)
            if name in d.scores and wanted.get(name) is not None
        ]
        if known:
            figures[name] = {
                "spearman": round(float(spearmanr(*zip(*known, strict=True)).statistic), 4),
                "calibration_error": round(
                    expected_calibration_error(*zip(*known, strict=True)), 4
                ),
                "reliability": reliability(*zip(*known, strict=True)),
            }
    return {"texts": len(sides), **figures}


def bench_paradetox(detector: Detector) -> dict[str, Any]:
    """Recall on the toxic sides and false positives on the neutral ones, one threshold."""
    rows = read("paradetox/test.jsonl")
    toxic = detector.detect([row["text"] for row in rows])
    neutral = detector.detect([target for row in rows for target in row["targets"]])
    return {
        "toxic_sides": len(toxic),
        "neutral_sides": len(neutral),
        "threshold": detector.thresholds["toxicity"],
        "recall": round(sum(d.toxic for d in toxic) / len(toxic), 4),
        "false_positive_rate": round(sum(d.toxic for d in neutral) / len(neutral), 4),
        "neutral_with_span": round(sum(bool(d.spans) for d in neutral) / len(neutral), 4),
    }


def bench_speed(detector: Detector) -> dict[str, Any]:
    """One text at a time, many, a megabyte; and the same model in transformers."""
    texts = [row["text"] for row in read("paradetox/train.jsonl")[:4000]]
    one = (
        "You are a complete idiot and nobody here wants to read what you have to say about "
        "our little town"
    )
    detector.detect(texts[:200])
    single = []
    for _ in range(300):
        begun = time.perf_counter()
        detector.detect([one])
        single.append((time.perf_counter() - begun) * 1000)
    many = [seconds(lambda: detector.detect(texts)) for _ in range(3)]
    figures = {
        "one_text_ms": {
            "median": round(statistics.median(single), 2),
            "p95": round(statistics.quantiles(single, n=20)[-1], 2),
        },
        "texts_per_s": round(len(texts) / statistics.median(many), 1),
    }
    sentence = "This is an ordinary sentence about a town, its river and what people say. "
    for n in (10_000, 100_000, 1_000_000):
        long = (sentence * (n // len(sentence) + 1))[:n]
        figures[f"seconds_{n}"] = round(seconds(lambda long=long: detector.detect([long])), 3)
    plain = bench_transformers(texts[:1000])
    ratio = round(figures["texts_per_s"] / plain, 2)
    return {**figures, "transformers_texts_per_s": plain, "ratio": ratio}


def bench_transformers(texts: Sequence[str]) -> float:
    """Return the texts a second of the same encoder in transformers, its best batch size."""
    import torch
    import transformers

    from promptdetox.engines.ctranslate2 import n_cores
    from promptdetox.models.catalog import find_model

    torch.set_num_threads(n_cores())
    folder = find_model("all-minilm-l6-v2").path
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    network = transformers.AutoModel.from_pretrained(folder).eval()
    best = 0.0
    for size in (16, 32, 64):

        def run(size: int = size) -> None:
            for at in range(0, len(texts), size):
                batch = tokenizer(texts[at : at + size], padding=True, return_tensors="pt")
                with torch.inference_mode():
                    network(**batch)

        run()
        best = max(best, len(texts) / seconds(run))
    return round(best, 1)


def seconds(function: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


PARTS: dict[str, Callable[[Detector], dict[str, Any]]] = {
    "speed": bench_speed,
    "spans": bench_spans,
    "rtp": bench_rtp,
    "wikipedia": bench_wikipedia,
    "paradetox": bench_paradetox,
    "hatecheck": bench_hatecheck,
}


def plot(known: dict[str, Any], name: str) -> None:
    """Write results/reliability.svg: what share of the texts with a score are toxic."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "reliability"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    curves = {
        "rtp/dev, soft labels": known["rtp"][name]["toxicity"]["reliability"],
        "wikipedia_toxicity/test": known["wikipedia"][name]["reliability"],
    }
    for label, bins in curves.items():
        points = [(b["score"], b["label"]) for b in bins]
        axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.set_xlabel("score of toxicity")
    axes.set_ylabel("mean label")
    axes.set_title(name)
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(ROOT / "results" / "reliability.svg", metadata={"Date": None})


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--detector", default="detect-minilm.v1")
    parser.add_argument("--quick", action="store_true", help="nothing is written")
    parser.add_argument("--plot", action="store_true", help="only draw results/reliability.svg")
    args = parser.parse_args()
    systems = {name: Detector.from_pretrained(name) for name in (args.detector, "lexicon-en.v1")}
    path = ROOT / "results" / "detector.json"
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if args.plot:
        plot(known, args.detector)
        return
    for part in args.part or PARTS:
        figures = {name: PARTS[part](detector) for name, detector in systems.items()}
        print(part, json.dumps(figures), flush=True)
        known[part] = {
            **machine(),
            "digests": {name: detector.digest for name, detector in systems.items()},
            **figures,
        }
        if not args.quick:
            known = {"command": "python recipes/bench_detector.py", **known}
            path.write_text(json.dumps(known, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
