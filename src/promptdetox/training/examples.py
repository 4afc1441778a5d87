"""Rows -> pairs -> token ids of prompt and target; what cannot be learnt from is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal, TypeAlias

from promptdetox import registry
from promptdetox.errors import DataError
from promptdetox.models.tokenizer import PromptTokenizer
from promptdetox.prompts.builder import PromptBuilder
from promptdetox.records.rows import targets_of, to_json
from promptdetox.training.objective import IGNORED, Examples, describe_counts
from promptdetox.types import Pair, Record, Span

FindToxic: TypeAlias = Callable[[Sequence[str]], Sequence[bool]]
FindSpans: TypeAlias = Callable[[Sequence[str]], Sequence[tuple[Span, ...]]]


@dataclass(frozen=True, slots=True)
class Example:
    """One pair as token ids: ``Toxic: you idiot\\nNeutral:`` and `` you person<|im_end|>``.

    Attributes:
        prompt: What is given.
        target: What is learnt.
        copies: For each token of the target, the one with which the text goes on where the target
            leaves it (`` idiot`` for `` person``); `IGNORED` elsewhere. Empty if not asked for.
    """

    prompt: tuple[int, ...]
    target: tuple[int, ...]
    copies: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.prompt) + len(self.target)


def read_pairs(
    records: Iterable[Record],
    found: Examples,
    *,
    name: str,
    find_toxic: FindToxic | None = None,
    references: Literal["all", "nearest"] = "all",
    target_column: str | None = None,
) -> list[Pair]:
    """Return the pairs of a file; a text with several targets gives several.

    Args:
        records: Rows with ``text`` and ``target``, or ``targets``, a list.
        found: Gets the counts.
        name: What messages call the file.
        find_toxic: Says which targets are still toxic, to leave them out; None keeps them.
        references: Of a text with several targets, all, or the one with the highest chrF to it.
        target_column: Column of the targets, if it is another.

    Raises:
        DataError: No pair is left.
    """
    usable = [
        (record.text or "", list(_usable_targets(record, row, found.left_out, target_column)))
        for record, row in unique_rows(records, found)
    ]
    if find_toxic is not None:
        verdicts = iter(find_toxic([target for _, targets in usable for target in targets]))
        marked = [(text, [(t, next(verdicts)) for t in targets]) for text, targets in usable]
        usable = [(text, [t for t, is_toxic in ts if not is_toxic]) for text, ts in marked]
        n_toxic = sum(is_toxic for _, ts in marked for _, is_toxic in ts)
        found.left_out += Counter({"target still toxic": n_toxic})
    pairs: list[Pair] = []
    for text, targets in usable:
        if references == "nearest" and len(targets) > 1:
            found.left_out["target further from the text"] += len(targets) - 1
            targets = [_nearest(text, targets)]
        pairs += [Pair(text, target) for target in targets]
    if not pairs:
        expected = f"the column {target_column}" if target_column else "target, or targets, a list"
        raise DataError(
            f"{name}: no pair to learn from in {found.n_rows} rows "
            f"({describe_counts(found.left_out)}); expected the columns text and {expected}."
        )
    return pairs


def encode_pairs(
    pairs: Sequence[Pair],
    found: Examples,
    *,
    name: str,
    builder: PromptBuilder,
    tokenizer: PromptTokenizer,
    end_id: int,
    is_seq2seq: bool,
    max_length: int,
    finds_copies: bool = False,
    spans: Sequence[Sequence[Span]] | None = None,
) -> None:
    """Add the pairs as token ids.

    Args:
        pairs: What to encode.
        found: Gets the examples and the counts.
        name: What messages call the file.
        builder: Builds the prompt of a text.
        tokenizer: The model's.
        end_id: Token that ends an answer.
        is_seq2seq: The target begins a sequence of its own.
        max_length: Tokens that an example may have.
        finds_copies: Examples get their ``copies``.
        spans: Toxic stretches of each text, for a template that marks them.

    Raises:
        DataError: Every pair is longer.
    """
    examples = []
    for pair, inside in zip(pairs, spans or [()] * len(pairs), strict=True):
        prompt = tokenizer.encode(builder.build(pair.text, spans=inside))
        answer = tokenizer.encode_user(pair.target if is_seq2seq else f" {pair.target}")
        target = (*answer, end_id)
        source = tokenizer.encode_user(pair.text if is_seq2seq else f" {pair.text}")
        copies = find_copies((*source, end_id), target) if finds_copies else ()
        examples.append(Example(tuple(prompt), target, copies))
    found.examples = keep_short(examples, found, name, max_length)


def find_copies(source: Sequence[int], target: Sequence[int]) -> tuple[int, ...]:
    """Return for each token of the target the one that a copy of the source would have there.

    Only where the target leaves the source, at the first token that differs; `IGNORED` elsewhere.

    Args:
        source: Tokens of the text.
        target: Tokens of its rewrite.
    """
    copies = [IGNORED] * len(target)
    matcher = SequenceMatcher(None, source, target, autojunk=False)
    for tag, i1, _, j1, _ in matcher.get_opcodes():
        # Where tokens are only added, the source goes on with what the target has later.
        if tag in ("replace", "delete") and j1 < len(target) and source[i1] != target[j1]:
            copies[j1] = source[i1]
    return tuple(copies)


def unique_rows(
    records: Iterable[Record], found: Examples
) -> Iterator[tuple[Record, Mapping[str, Any]]]:
    """Yield rows with their columns; of rows with the same ``id`` the first, the others counted."""
    seen_ids: set[str] = set()
    for record in records:
        found.n_rows += 1
        row = record.row.as_dict()
        if (row_id := row.get("id")) is not None:
            key = to_json(row_id)  # a list or an object, too, can be one
            if key in seen_ids:
                found.left_out["duplicate id"] += 1
                continue
            seen_ids.add(key)
        yield record, row


def keep_short(examples: Iterable[Any], found: Examples, name: str, max_length: int) -> list[Any]:
    """Return the examples that fit; the others are counted.

    Args:
        examples: Each with a length in tokens.
        found: Gets the counts.
        name: What messages call the file.
        max_length: Tokens that an example may have.

    Raises:
        DataError: None fits.
    """
    kept = []
    for example in examples:
        if len(example) <= max_length:
            kept.append(example)
        else:
            found.left_out[f"longer than {max_length} tokens"] += 1
    if not kept:
        raise DataError(
            f"{name}: every example is longer than {max_length} tokens: give a higher "
            "--max-length, or shorter texts."
        )
    return kept


def _usable_targets(
    record: Record,
    row: Mapping[str, Any],
    left_out: Counter[str],
    target_column: str | None,
) -> Iterator[str]:
    text = (record.text or "").strip()
    usable = [target.strip() for target in targets_of(row, target_column)]
    if not text or not usable:
        left_out["no text" if not text else "no target"] += 1
        return
    for target in dict.fromkeys(usable):
        if target == text:
            left_out["identity pair"] += 1
        else:
            yield target


def _nearest(text: str, targets: list[str]) -> str:
    chrf = registry.resolve("scorer", "chrf")()
    scores = chrf.score([text] * len(targets), targets, [[text]] * len(targets))
    return targets[max(range(len(targets)), key=lambda index: scores[index].value or 0.0)]
