"""Learn the lexicon: log-odds of words on the toxic against the neutral sides, then a review.

    python recipes/learn_lexicon.py recipes/lexicon-en.v1.toml
    python recipes/learn_lexicon.py recipes/lexicon-en.v1.toml --candidates
    python recipes/learn_lexicon.py recipes/lexicon-en.v1.toml --compare

Source: Monroe, Colaresi and Quinn 2008, Fightin' Words, https://doi.org/10.1093/pan/mpn018
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_WORD = re.compile(r"[^\W_]+(?:['’*@$#!][^\W_]+)*")


def words_of(text: str) -> set[str]:
    """Return the words of a text, lower case."""
    return {word.lower().replace("’", "'") for word in _WORD.findall(text)}


def learn_candidates(rows: list[dict[str, Any]], recipe: dict[str, Any]) -> dict[str, float]:
    """Return the words that pass the cuts, with the share of their toxic occurrences."""
    toxic: Counter[str] = Counter()
    neutral: Counter[str] = Counter()
    for row in rows:
        toxic.update(words_of(row["text"]))
        for target in row["targets"]:
            for word in words_of(target):
                neutral[word] += 1 / len(row["targets"])  # type: ignore[assignment]
    n_toxic, n_neutral = toxic.total(), neutral.total()
    n_all, prior = n_toxic + n_neutral, recipe["prior"]
    found = {}
    for word, count in toxic.items():
        other = neutral[word]
        share = count / (count + other + 0.5)
        if count < recipe["min_count"] or share < recipe["min_share"]:
            continue
        alpha = prior * (count + other) / n_all
        odds = (count + alpha) / (n_toxic + prior - count - alpha)
        other_odds = (other + alpha) / (n_neutral + prior - other - alpha)
        spread = math.sqrt(1 / (count + alpha) + 1 / (other + alpha))
        if math.log(odds / other_odds) / spread >= recipe["min_z"]:
            found[word] = share
    return found


def build_lexicon(recipe: dict[str, Any], candidates: dict[str, float]) -> list[str]:
    """Return the artefact's lines; a reviewed word that was not learnt is an error."""
    lines = ["# term\tscore\tcategory"]
    terms: dict[str, tuple[float, str]] = {}
    for category, words in recipe["keep"].items():
        for word in words:
            if word not in candidates:
                sys.exit(f"{word!r} stands in [keep] but is no candidate: move it to [add]")
            terms[word] = (candidates[word], category)
    for category, words in recipe["add"].items():
        for word in words:
            if word in terms:
                sys.exit(f"{word!r} stands in [add] and again elsewhere")
            terms[word] = (0.9, category)
    lines += [f"{term}\t{score:.3f}\t{name}" for term, (score, name) in sorted(terms.items())]
    return lines


def read_published(folder: Path) -> dict[str, list[str]]:
    """Return the terms of the published lists, as they are."""
    rows = json.loads((folder / "dsojevic_en.json").read_text("utf-8"))
    surge = (folder / "surge_en.csv").read_text("utf-8").splitlines()[1:]
    lists = {
        "ldnoobw_en": (folder / "ldnoobw_en.txt").read_text("utf-8").splitlines(),
        "dsojevic_en": [term for row in rows for term in row["match"].split("|")],
        "surge_en": [line.split(",")[0] for line in surge],
    }
    return {name: [t.strip() for t in terms if t.strip()] for name, terms in lists.items()}


def compare(data: Path) -> dict[str, Any]:
    """Return hit rates on ParaDetox dev, ours beside the published lists."""
    from promptdetox.spans.lexicon import load_default

    ours = load_default()
    finders: dict[str, tuple[int, Callable[[str], bool]]] = {
        "lexicon-en.v1": (len(ours), lambda text: bool(ours.tag([text])[0]))
    }
    for name, terms in read_published(data / "lexicons").items():
        # `*` is a wildcard in one of the lists.
        escaped = [re.escape(term.lower()).replace(r"\*", r"\w*") for term in terms]
        pattern = re.compile(rf"(?<!\w)(?:{'|'.join(sorted(escaped, reverse=True))})(?!\w)")
        finders[name] = (len(terms), lambda text, p=pattern: bool(p.search(text.lower())))
    rows = [json.loads(line) for line in (data / "paradetox/dev.jsonl").open(encoding="utf-8")]
    toxic = [row["text"] for row in rows]
    neutral = [target for row in rows for target in row["targets"]]
    table = {}
    for name, (n_terms, is_hit) in finders.items():
        hits = [sum(map(is_hit, side)) / len(side) for side in (toxic, neutral)]
        table[name] = {
            "terms": n_terms,
            "toxic_sides_hit": round(hits[0], 4),
            "neutral_sides_hit": round(hits[1], 4),
        }
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return {
        "command": "python recipes/learn_lexicon.py recipes/lexicon-en.v1.toml --compare",
        "commit": commit,
        "data": "paradetox/dev",
        "toxic_sides": len(toxic),
        "neutral_sides": len(neutral),
        "lexicons": table,
    }


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--candidates", action="store_true")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--output", type=Path, help="default: the recipe's artefact")
    args = parser.parse_args()
    recipe = tomllib.loads(args.recipe.read_text("utf-8"))
    if args.compare:
        result = compare(args.data)
        (ROOT / "results/lexicon.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        print(json.dumps(result["lexicons"], indent=1))
        return
    rows = [json.loads(line) for line in (args.data / recipe["train"]).open(encoding="utf-8")]
    candidates = learn_candidates(rows, recipe)
    if args.candidates:
        print("\n".join(f"{share:.2f} {word}" for word, share in candidates.items()))
        return
    output = args.output or ROOT / recipe["artefact"]
    output.write_text("\n".join(build_lexicon(recipe, candidates)) + "\n", "utf-8")


if __name__ == "__main__":
    main()
