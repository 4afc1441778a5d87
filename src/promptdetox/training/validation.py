"""Validation on what counts: the chrF of greedy rewrites, times the share that is neutral."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from promptdetox import registry
from promptdetox.engines.answers import cut_answer
from promptdetox.errors import DataError
from promptdetox.methods.peft_adapter import generate
from promptdetox.models.tokenizer import PromptTokenizer
from promptdetox.prompts.builder import PromptBuilder
from promptdetox.records.rows import targets_of
from promptdetox.training.examples import FindSpans, FindToxic
from promptdetox.types import Record

_BATCH_SIZE = 50


class Validation:
    """Rewrites a file of pairs with the network as it is, and scores the outputs.

    Args:
        records: Rows with text and targets.
        name: What messages call them.
        n: How many of them, the first.
        builder: Builds prompts.
        tokenizer: The model's.
        end_id: Ends an answer.
        target_column: Column of the targets; None: targets, or target.
        find_toxic: Says what is not neutral; None takes everything for neutral.
        find_spans: Finds what a template marks; None for one without marks.
        is_seq2seq: Kind of the network.

    Raises:
        DataError: No row has a target.
    """

    def __init__(
        self,
        records: Iterable[Record],
        *,
        name: str,
        n: int,
        target_column: str | None,
        builder: PromptBuilder,
        tokenizer: PromptTokenizer,
        end_id: int,
        find_toxic: FindToxic | None,
        find_spans: FindSpans | None,
        is_seq2seq: bool,
    ) -> None:
        rows = [(r.text or "", r.row.as_dict()) for r in islice(records, n)]
        self.n = len(rows)
        self._texts = [text for text, _ in rows]
        self._references = [targets_of(row, target_column) for _, row in rows]
        if not any(self._references):
            raise DataError(f"{name}: no row to validate on has a target.")
        spans = find_spans(self._texts) if find_spans else [()] * self.n
        self._prompts = [
            builder.build(text, spans=inside)
            for text, inside in zip(self._texts, spans, strict=True)
        ]
        self._tokenizer, self._end_id = tokenizer, end_id
        self._find_toxic, self._is_seq2seq = find_toxic, is_seq2seq
        self._chrf = registry.resolve("scorer", "chrf")()

    def measure(self, network: Any) -> dict[str, float]:
        """Return ``score``, ``chrf``, ``neutral`` and ``copies``. Range of each: 0..1."""
        outputs = self.rewrite(network)
        scores = self._chrf.score(self._texts, outputs, self._references)
        values = [score.value for score in scores if score.value is not None]
        chrf = sum(values) / len(values)
        toxic = self._find_toxic(outputs) if self._find_toxic else ()
        neutral = 1 - sum(toxic) / len(outputs)
        copies = sum(a.strip() == b.strip() for a, b in zip(self._texts, outputs, strict=True))
        return {
            "score": chrf * neutral,
            "chrf": chrf,
            "neutral": neutral,
            "copies": copies / len(outputs),
        }

    def rewrite(self, network: Any) -> list[str]:
        """Return the greedy answers, in order."""
        encoded = [self._tokenizer.encode(prompt) for prompt in self._prompts]
        if self._is_seq2seq:
            encoded = [[*ids, self._end_id] for ids in encoded]
        order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
        answers = [""] * len(encoded)
        for at in range(0, len(order), _BATCH_SIZE):
            batch = order[at : at + _BATCH_SIZE]
            for index, ids in zip(
                batch, self._generate(network, [encoded[i] for i in batch]), strict=True
            ):
                answers[index] = cut_answer(self._tokenizer.decode(ids), self._prompts[index].stop)
        return answers

    def _generate(self, network: Any, encoded: list[list[int]]) -> Iterator[list[int]]:
        import torch

        width = max(map(len, encoded))
        inputs = torch.tensor([[self._end_id] * (width - len(ids)) + ids for ids in encoded])
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in encoded])
        device = next(network.parameters()).device
        with torch.inference_mode():
            result = generate(
                network,
                inputs.to(device),
                mask.to(device),
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=width * 3 // 2 + 16,
                eos_token_id=self._end_id,
                pad_token_id=self._end_id,
            )
        start = 1 if self._is_seq2seq else width
        for row in result[:, start:].tolist():
            yield row[: row.index(self._end_id)] if self._end_id in row else row
