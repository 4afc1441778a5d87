"""The default engine: CTranslate2, int8, one thread a worker and a worker a core."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

from promptdetox.engines.answers import cut_answer
from promptdetox.engines.encoding import mean_vectors, plan_batches
from promptdetox.errors import ModelError
from promptdetox.models.build import BuiltModel, ComputeType, build_model
from promptdetox.models.catalog import find_model
from promptdetox.models.tokenizer import PromptTokenizer
from promptdetox.types import Candidate, Decoding, Prompt

if TYPE_CHECKING:
    from pathlib import Path

    from promptdetox.types import FloatArray

# Measured on 531 sentences: 8 a batch 0.8x, 16 1.0x, 32 1.0x the speed and twice the memory.
_BATCH_SIZE = 16
# Keys and values of a batch are copied at every step: more tokens in it cost memory and time.
_MAX_BATCH_TOKENS = 1200
# A batch reads at once only as many tokens as its shortest prompt has; the rest goes in step by
# step, so prompts that differ by more than this share no batch.
_MAX_LENGTH_GAP = 8
# CTranslate2 never drops a cached prefix; past this many, prefixes are read anew each time.
_MAX_STATIC_PREFIXES = 8


class CTranslate2Generator:
    """Continues prompts with a decoder of the Llama family.

    Source: https://opennmt.net/CTranslate2/
    """

    def __init__(
        self, model: BuiltModel, *, threads: int | None = None, template: str | None = None
    ) -> None:
        import ctranslate2

        if model.kind != "decoder":
            raise ModelError(f"{model.path} is an {model.kind}: expected a decoder, to rewrite.")
        self._model, self._template = model, template
        self._soft_tokens = list(model.soft_tokens)
        self._n_workers = threads or n_cores()
        self._generator = ctranslate2.Generator(
            str(model.path),
            device="cpu",
            compute_type="default",
            inter_threads=self._n_workers,
            intra_threads=1,
        )
        self._tokenizer = PromptTokenizer(
            model.tokenizer, bos_token=model.special_tokens.get("bos_token")
        )
        self._end_tokens: dict[tuple[str, ...], list[str]] = {}
        self._static_prefixes: set[tuple[int, ...]] = set()

    @classmethod
    def load(
        cls,
        model: str,
        *,
        compute_type: ComputeType = "int8",
        adapter: Path | None = None,
        threads: int | None = None,
    ) -> CTranslate2Generator:
        """Return the engine for a model, built if need be.

        Raises:
            ModelError: The model is missing, damaged or no decoder.
        """
        source = find_model(model)
        built = build_model(source, compute_type=compute_type, adapter=adapter)
        return cls(built, threads=threads, template=source.template)

    @property
    def digest(self) -> str:
        """Identity of the weights and their precision, hex."""
        return self._model.digest

    @property
    def max_length(self) -> int:
        """Tokens that prompt and answer may have together."""
        return self._model.max_length

    @property
    def chat_template(self) -> str | None:
        """The model's Jinja chat template; None for a plain model."""
        return self._model.chat_template

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """Control tokens that chat templates name."""
        return self._model.special_tokens

    @property
    def template(self) -> str | None:
        """Prompt template that the model was tuned with; None for a base model."""
        return self._template

    def count_tokens(self, prompt: Prompt) -> int:
        """Return the length of a prompt in tokens."""
        return len(self._soft_tokens) + len(self._tokenizer.encode(prompt))

    def token_ids(self, prompt: Prompt) -> list[int]:
        """Return the token ids of a prompt, as the model reads them."""
        return self._tokenizer.encode(prompt)

    def generate(
        self, prompts: Sequence[Prompt], *, decoding: Sequence[Decoding]
    ) -> Iterator[list[Candidate]]:
        """Yield the candidates of each prompt, in order.

        One candidate is greedy; several are the n best of a beam of n, which, unlike sampling, is
        the same on any number of workers.
        """
        encoded = [self._tokenizer.encode_split(prompt) for prompt in prompts]
        batches = iter(_plan_batches(prompts, encoded, decoding))
        in_flight: deque[tuple[list[int], list[Any]]] = deque()
        done: dict[int, Any] = {}
        for index, prompt in enumerate(prompts):
            while index not in done:
                # Few at a time: whatever is submitted must be finished, even after an interrupt.
                for batch in islice(batches, 2 * self._n_workers - len(in_flight)):
                    in_flight.append((batch, self._submit(batch, prompts, encoded, decoding)))
                batch, results = in_flight.popleft()
                done |= {at: result.result() for at, result in zip(batch, results, strict=True)}
            yield self._read_result(done.pop(index), prompt, decoding[index].max_new_tokens)

    def _submit(
        self,
        batch: Sequence[int],
        prompts: Sequence[Prompt],
        encoded: Sequence[tuple[tuple[int, ...], list[int]]],
        decoding: Sequence[Decoding],
    ) -> list[Any]:
        tokens_of = self._tokenizer.tokens_of
        static, options = encoded[batch[0]][0], decoding[batch[0]]
        is_cached = self._may_cache(static) and all(encoded[index][1] for index in batch)
        prefix = [*self._soft_tokens, *tokens_of(static)]
        starts = [
            [*([] if is_cached else prefix), *tokens_of(encoded[index][1])] for index in batch
        ]
        results: list[Any] = self._generator.generate_batch(
            starts,
            max_batch_size=len(batch),
            asynchronous=True,
            beam_size=options.n_candidates,
            num_hypotheses=options.n_candidates,
            max_length=max(decoding[index].max_new_tokens for index in batch),
            static_prompt=prefix if is_cached else None,
            include_prompt_in_result=False,
            end_token=self._find_end_tokens(prompts[batch[0]].stop),
            return_end_token=True,
            return_scores=True,
        )
        return results

    def _may_cache(self, static: tuple[int, ...]) -> bool:
        if static and len(self._static_prefixes) < _MAX_STATIC_PREFIXES:
            self._static_prefixes.add(static)
        return static in self._static_prefixes

    def _find_end_tokens(self, stop: tuple[str, ...]) -> list[str]:
        if stop not in self._end_tokens:
            found = list(self._model.end_tokens)
            for string in stop:
                found += self._tokenizer.tokens_starting_with(string)
            self._end_tokens[stop] = found
        return self._end_tokens[stop]

    def _read_result(self, result: Any, prompt: Prompt, max_new_tokens: int) -> list[Candidate]:
        ends = self._tokenizer.ids_of(self._find_end_tokens(prompt.stop))
        candidates = []
        for ids, score in zip(result.sequences_ids, result.scores, strict=True):
            kept = ids[:max_new_tokens]
            is_finished = bool(kept) and kept[-1] in ends
            kept = kept[:-1] if is_finished else kept
            candidates.append(
                Candidate(
                    text=cut_answer(self._tokenizer.decode(kept), prompt.stop),
                    log_prob=score,
                    n_tokens=len(kept),
                    is_finished=is_finished,
                    tokens=tuple(kept),
                )
            )
        return candidates

    def score(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[float]:
        """Return the mean log-probability a token of each target after its prompt."""
        lines, lengths = [], []
        for prompt, target in zip(prompts, targets, strict=True):
            ids = self._tokenizer.encode_user(target)
            known = self._tokenizer.tokens_of([*self._tokenizer.encode(prompt), *ids])
            lines.append([*self._soft_tokens, *known])
            lengths.append(len(ids))
        results = self._generator.score_batch(lines, max_batch_size=_BATCH_SIZE)
        return [
            sum(result.log_probs[-n:]) / n if n else 0.0
            for result, n in zip(results, lengths, strict=True)
        ]


def _plan_batches(
    prompts: Sequence[Prompt],
    encoded: Sequence[tuple[tuple[int, ...], list[int]]],
    decoding: Sequence[Decoding],
) -> list[list[int]]:
    """Group prompts of like length, longest first, that may be decoded together."""
    order = sorted(range(len(prompts)), key=lambda index: -len(encoded[index][1]))
    batches: list[list[int]] = []
    for index in order:
        if batches and len(batches[-1]) < _BATCH_SIZE:
            first = batches[-1][0]
            n_tokens = sum(map(len, encoded[first])) + decoding[first].max_new_tokens
            gap = len(encoded[first][1]) - len(encoded[index][1])
            if (
                gap <= _MAX_LENGTH_GAP
                and n_tokens * (len(batches[-1]) + 1) <= _MAX_BATCH_TOKENS
                and encoded[first][0] == encoded[index][0]
                and prompts[first].stop == prompts[index].stop
                and decoding[first].n_candidates == decoding[index].n_candidates
            ):
                batches[-1].append(index)
                continue
        batches.append([index])
    return batches


class CTranslate2Encoder:
    """Turns texts into vectors with an encoder of the BERT family.

    Source: Reimers and Gurevych 2019, Sentence-BERT, https://arxiv.org/abs/1908.10084
    """

    def __init__(self, model: BuiltModel, *, threads: int | None = None) -> None:
        import ctranslate2

        if model.kind != "encoder":
            raise ModelError(f"{model.path} is a {model.kind}: expected an encoder, to embed.")
        self._model = model
        self._n_workers = threads or n_cores()
        self._encoder = ctranslate2.Encoder(
            str(model.path),
            device="cpu",
            compute_type="default",
            inter_threads=self._n_workers,
            intra_threads=1,
        )
        self.tokenizer = PromptTokenizer(model.tokenizer)

    @classmethod
    def load(
        cls,
        model: str,
        *,
        compute_type: ComputeType = "int8",
        adapter: Path | None = None,
        threads: int | None = None,
    ) -> CTranslate2Encoder:
        """Return the engine for a model, built if need be.

        Raises:
            ModelError: The model is missing, damaged or no encoder.
        """
        built = build_model(find_model(model), compute_type=compute_type, adapter=adapter)
        return cls(built, threads=threads)

    @property
    def digest(self) -> str:
        """Identity of the weights and their precision, hex."""
        return self._model.digest

    @property
    def max_length(self) -> int:
        """Tokens that a text may have."""
        return self._model.max_length

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return one unit vector a text, by mean pooling. Shape: (texts, hidden), float32."""
        return mean_vectors(self, texts)

    def hidden(self, rows: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], FloatArray]]:
        """Yield the hidden states of token ids, see `TokenEncoder`."""
        batches = plan_batches([len(row) for row in rows])
        if len(batches) < 2 or self._n_workers == 1:
            for batch in batches:
                yield batch, self._forward(rows, batch)
            return
        in_flight: deque[tuple[list[int], Future[FloatArray]]] = deque()
        with ThreadPoolExecutor(self._n_workers) as pool:
            try:
                for batch in batches:
                    in_flight.append((batch, pool.submit(self._forward, rows, batch)))
                    if len(in_flight) > self._n_workers:
                        done, future = in_flight.popleft()
                        yield done, future.result()
                while in_flight:
                    done, future = in_flight.popleft()
                    yield done, future.result()
            finally:
                for _, future in in_flight:
                    future.cancel()

    def _forward(self, rows: Sequence[Sequence[int]], batch: Sequence[int]) -> FloatArray:
        import numpy as np

        output = self._encoder.forward_batch([list(rows[index]) for index in batch])
        states: FloatArray = np.array(output.last_hidden_state, dtype=np.float32)
        return states


def n_cores() -> int:
    """Return the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
