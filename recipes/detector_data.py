"""Join what the shipped detector may learn from into one file: spans, soft and hard labels.

    python recipes/detector_data.py                # runs/detector/{train,dev}.jsonl
    python recipes/detector_data.py --no-contrast  # without the sentences that we wrote

Each source teaches only the heads that it has labels for:

- toxic_spans: spans; its posts are toxic. 700 rows are held out, to choose on.
- paradetox: texts are toxic, their nearest targets are neutral and have no span; where one or two
  words of a text are in no target, those are its spans.
- rtp: seven attributes of the Perspective API, as probabilities.
- davidson, sbic, hatexplain: toxic, hateful. Of davidson, which has many texts that are rude and
  not hateful, only a part.
- contrast: our own, see contrast.toml.
- joined: several clean texts of the above in a row, half of them with a toxic one among them. The
  posts with spans are long and toxic, all else is short: without these, length is taken for a sign.

Only the training parts are read, and the development parts for dev.jsonl; see the data's README.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import ROOT
from make_contrast import make_rows
from sacrebleu.metrics import CHRF
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from promptdetox.types import CATEGORIES

DATA = ROOT.parent / "shared" / "data"
OUT = ROOT / "runs" / "detector"
N_HELD_OUT = 700
N_DAVIDSON = 6000
N_CONTRAST = 6000
N_JOINED = 10_000
# Score of every attribute below which a text of rtp is clean.
MILD = 0.25
MAX_REMOVED = 2
ATTRIBUTES = tuple(name for name in CATEGORIES if name != "hateful")


def read(name: str) -> list[dict[str, Any]]:
    """Return the rows of a file."""
    with (DATA / name).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def read_spans() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return (what is learnt, what is held out) of the toxic spans."""
    rows = [
        {"id": row["id"], "text": row["text"], "spans": row["spans"], "toxicity": 1}
        for row in read("toxic_spans/train.jsonl")
    ]
    random.Random(0).shuffle(rows)
    return rows[N_HELD_OUT:], rows[:N_HELD_OUT]


def read_pairs(part: str) -> Iterator[dict[str, Any]]:
    """Yield each toxic text of ParaDetox, and the nearest of its targets."""
    chrf = CHRF()
    for row in read(f"paradetox/{part}.jsonl"):
        spans = find_removed(row["text"], row["targets"])
        marked = {"spans": spans} if spans else {}
        yield {"id": f"{row['id']}-text", "text": row["text"], **marked, "toxicity": 1}
        target = max(row["targets"], key=lambda t: chrf.sentence_score(t, [row["text"]]).score)
        neutral = {"text": target, "spans": [], "toxicity": 0, "hateful": 0}
        yield {"id": f"{row['id']}-target", **neutral}


def find_removed(text: str, targets: Sequence[str]) -> list[list[int]]:
    """Return where a text has words that no target keeps, if they are few: what was toxic in it.

    Function words, which go with the word that they belong to, do not count.
    """
    kept = {word for target in targets for word in re.findall(r"\w+", target.lower())}
    removed = [
        m
        for m in re.finditer(r"\w+", text)
        if m[0].lower() not in kept and m[0].lower() not in ENGLISH_STOP_WORDS and len(m[0]) > 2
    ]
    return [[m.start(), m.end()] for m in removed] if len(removed) <= MAX_REMOVED else []


def read_prompts(part: str) -> Iterator[dict[str, Any]]:
    """Yield each prompt and continuation of RealToxicityPrompts with its attributes."""
    for row in read(f"rtp/{part}.jsonl"):
        for side in ("prompt", "continuation"):
            scores = {name: row[f"{side}_scores"].get(name) for name in ATTRIBUTES}
            yield {"id": f"{row['id']}-{side}", "text": row[side], **scores}


def read_labels(name: str, part: str, limit: int | None = None) -> list[dict[str, Any]]:
    """Return texts with the labels toxic and hateful; with a limit, those that are rarer first."""
    rows = read(f"stream/{name}/{part}.jsonl")
    kinds = Counter((row["label"], row["hateful"]) for row in rows)
    random.Random(0).shuffle(rows)
    rows.sort(key=lambda row: kinds[row["label"], row["hateful"]])
    found = []
    for row in rows[:limit]:
        labels = {"toxicity": row["label"], "hateful": row["hateful"]}
        found.append({"id": row["id"], "text": row["text"], **labels})
    return found


def read_contrast(n: int) -> Iterator[dict[str, Any]]:
    """Yield the sentences that we wrote."""
    for row in make_rows(n, seed=0)[0]:
        spans = {} if row["label"] else {"spans": []}
        labels = {"toxicity": row["label"], "hateful": row["hateful"]}
        yield {"id": f"contrast-{row['id']}", "text": row["text"], **spans, **labels}


def join_texts(rows: Sequence[dict[str, Any]], n: int) -> Iterator[dict[str, Any]]:
    """Yield long texts, clean and toxic in turn, made of clean ones and at most one toxic one."""
    chance = random.Random(1)
    clean = [row for row in rows if _is_clean(row)]
    toxic = [row for row in rows if row.get("spans") and row["toxicity"] == 1]
    for at in range(n):
        parts = chance.sample(clean, chance.randint(2, 9))
        spans: list[list[int]] = []
        if at % 2:
            worst = chance.choice(toxic)
            parts.insert(chance.randint(0, len(parts)), worst)
            begin = sum(len(p["text"].strip()) + 1 for p in parts[: parts.index(worst)])
            lead = len(worst["text"]) - len(worst["text"].lstrip())
            spans = [[begin + start - lead, begin + end - lead] for start, end in worst["spans"]]
        text = " ".join(part["text"].strip() for part in parts)
        yield {
            "id": f"joined-{at}",
            "text": text,
            "spans": [span for span in spans if 0 <= span[0] < span[1] <= len(text)],
            "toxicity": at % 2,
            **({} if at % 2 else {"hateful": 0}),
        }


def _is_clean(row: dict[str, Any]) -> bool:
    is_neutral = row.get("spans") == [] and row.get("toxicity") == 0
    scores = [row.get(name) for name in ATTRIBUTES]
    is_mild = None not in scores and max(scores) < MILD
    return (is_neutral or is_mild) and not row.get("hateful")


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows in an order of chance, each with its toxicity as a probability."""
    random.Random(0).shuffle(rows)
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            for name in (*ATTRIBUTES, "hateful"):
                if row.get(name) is not None:
                    row[name] = float(row[name])
            file.write(json.dumps(row) + "\n")
    counts = Counter(name for row in rows for name in row if row[name] is not None)
    print(path, len(rows), dict(counts))


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-contrast", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    learnt, held_out = read_spans()
    sets = {"4-sbic": None, "5-hatexplain": None}
    train = [
        *learnt,
        *read_pairs("train"),
        *read_prompts("train"),
        *read_labels("1-davidson", "train", N_DAVIDSON),
        *(row for name in sets for row in read_labels(name, "train")),
    ]
    if not args.no_contrast:
        train += read_contrast(N_CONTRAST)
    train += join_texts(train, N_JOINED)
    dev = [
        *held_out,
        *read_pairs("dev"),
        *read_prompts("dev"),
        *(row for name in ("1-davidson", *sets) for row in read_labels(name, "dev")),
    ]
    dev += join_texts(dev, N_JOINED // 10)
    write(args.output / "train.jsonl", train)
    write(args.output / "dev.jsonl", dev)


if __name__ == "__main__":
    main()
