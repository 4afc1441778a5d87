"""Compare rewriters on ParaDetox dev, to choose between them: python recipes/compare.py MODEL ...

Each is run twice, without a detector and with the default one. `judged` is alt-profanity-check,
which chooses nothing (see bench.py); copies and people's own rewrites stand beside. Prints only.

    python recipes/compare.py detox-smollm2.v1 runs/detox-marked
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

from bench import judge, read_rows

from promptdetox import Detoxifier, registry
from promptdetox.detect import Detector


def measure(
    detectors: Sequence[str], texts: Sequence[str], outputs: Sequence[str], references: Any
) -> dict[str, float]:
    """Return the figures of one system. Shares: lower is better, chrF: higher."""
    chrf = registry.resolve("scorer", "chrf")().score(texts, outputs, references)
    toxic = {
        name: statistics.mean(map(float, Detector.from_pretrained(name).find_toxic(outputs)))
        for name in detectors
    }
    pairs = zip(texts, outputs, strict=True)
    return {
        "chrf": statistics.mean(score.value for score in chrf if score.value is not None),
        **{f"toxic by {name}": share for name, share in toxic.items()},
        "judged toxic": statistics.mean(float(p >= 0.5) for p in judge(outputs)),
        "copies": statistics.mean(float(a.strip() == b.strip()) for a, b in pairs),
    }


def main() -> None:
    """Print a line for each system."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="+")
    parser.add_argument("--detector", nargs="*", default=["none", "detect-minilm.v1"])
    parser.add_argument("--compute-type", default="int8")
    args = parser.parse_args()
    rows = read_rows("dev", 1)
    texts, references = [row["text"] for row in rows], [row["targets"] for row in rows]
    detectors = ["lexicon-en.v1", *(name for name in args.detector if name != "none")]

    def show(name: str, outputs: Sequence[str], references: Any = references) -> None:
        figures = measure(detectors, texts, outputs, references)
        print(name, {key: round(value, 4) for key, value in figures.items()}, flush=True)

    show("copy", texts)
    show("a person's first rewrite", [targets[0] for targets in references])
    for model in args.model:
        for detector in args.detector:
            system = Detoxifier.from_pretrained(
                model, detector=detector, compute_type=args.compute_type
            )
            rewrites = system.detox(texts)
            statuses = {r.status: sum(o.status == r.status for o in rewrites) for r in rewrites}
            show(f"{model}, detector {detector}, {statuses}", [r.output for r in rewrites])


if __name__ == "__main__":
    main()
