"""Pairs of a file -> token ids of prompt and target; what cannot be learnt from is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from promptdetox.errors import DataError
from promptdetox.models.tokenizer import PromptTokenizer
from promptdetox.prompts.builder import PromptBuilder
from promptdetox.records.rows import targets_of
from promptdetox.types import Record, Tagger


@dataclass(frozen=True, slots=True)
class Example:
    """One pair as token ids: ``Toxic: you idiot\\nNeutral:`` and `` you person<|im_end|>``."""

    prompt: tuple[int, ...]
    target: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.target)


@dataclass
class Examples:
    """What a file gave.

    Attributes:
        examples: In file order; a text with several targets gives several.
        n_rows: Rows read.
        left_out: Why -> pairs (or rows, where there is no pair) that were left out.
    """

    examples: list[Example] = field(default_factory=list)
    n_rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def read_examples(
    records: Iterable[Record],
    *,
    name: str,
    builder: PromptBuilder,
    tokenizer: PromptTokenizer,
    end_id: int,
    is_seq2seq: bool,
    max_length: int,
    tagger: Tagger | None = None,
) -> Examples:
    """Return the examples of a file of pairs.

    Args:
        records: Rows with ``text`` and ``target``, or ``targets``, a list.
        name: What messages call the file.
        builder: Builds the prompt of a text.
        tokenizer: The model's.
        end_id: Token that ends an answer.
        is_seq2seq: The target begins a sequence of its own.
        max_length: Tokens that an example may have.
        tagger: Leaves out targets in which it still finds something; None keeps them.

    Raises:
        DataError: No pair is left.
    """
    found = Examples()
    seen_ids: set[Any] = set()
    for record in records:
        found.n_rows += 1
        row = record.row.as_dict()
        if (row_id := row.get("id")) is not None:
            if row_id in seen_ids:
                found.left_out["duplicate id"] += 1
                continue
            seen_ids.add(row_id)
        for target in _usable_targets(record, row, tagger, found.left_out):
            prompt = tokenizer.encode(builder.build(record.text or ""))
            answer = tokenizer.encode_user(target if is_seq2seq else f" {target}")
            example = Example(tuple(prompt), (*answer, end_id))
            if len(example) > max_length:
                found.left_out[f"longer than {max_length} tokens"] += 1
            else:
                found.examples.append(example)
    if not found.examples:
        raise DataError(
            f"{name}: no pair to learn from in {found.n_rows} rows "
            f"({describe_left_out(found.left_out)}); expected the columns text and target, or "
            "targets, a list."
        )
    return found


def _usable_targets(
    record: Record, row: Mapping[str, Any], tagger: Tagger | None, left_out: Counter[str]
) -> Iterator[str]:
    text = (record.text or "").strip()
    usable = [target.strip() for target in targets_of(row)]
    if not text or not usable:
        left_out["no text" if not text else "no target"] += 1
        return
    for target in dict.fromkeys(usable):
        if target == text:
            left_out["identity pair"] += 1
        elif tagger is not None and tagger.tag([target])[0]:
            left_out["target still toxic"] += 1
        else:
            yield target


def describe_left_out(left_out: Mapping[str, int]) -> str:
    """Return the counts as a phrase."""
    return ", ".join(f"{n} {why}" for why, n in left_out.items()) or "nothing left out"
