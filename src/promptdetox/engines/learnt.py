"""What ``train`` left for a masked encoder -> what its heads say of texts.

An adapter that can be merged runs on CTranslate2, without torch; any other on transformers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from promptdetox import registry
from promptdetox.config import TrainConfig, to_tuples
from promptdetox.engines.encoding import TokenEncoder
from promptdetox.errors import ConfigError, ModelError, UsageError
from promptdetox.models.adapter import can_merge
from promptdetox.models.catalog import (
    LEARNT_FILE,
    find_model,
    read_model_config,
    sha256_of,
    shipped_folder,
)
from promptdetox.models.checkpoint import read_json
from promptdetox.models.fit import fit_length
from promptdetox.models.heads import HEADS_FILE, Head, LinearHeads, read_heads, to_probabilities

if TYPE_CHECKING:
    from promptdetox.types import FloatArray


class LearntEncoder:
    """An encoder with its adapter and heads.

    Args:
        engine: Runs the encoder.
        heads: What is read off.
        digest: Of engine, adapter and heads, hex.
        max_length: Tokens that a text may have; the rest is not read.
        facts: What ``promptdetox.json`` says.
    """

    def __init__(
        self,
        engine: TokenEncoder,
        heads: LinearHeads,
        *,
        digest: str,
        max_length: int,
        facts: dict[str, Any],
    ) -> None:
        self._engine, self._heads = engine, heads
        self.digest = digest
        self.max_length = max_length
        self.facts = facts
        self.tokenizer = engine.tokenizer

    @property
    def heads(self) -> tuple[Head, ...]:
        """What each head says."""
        return self._heads.heads

    def predict(
        self, rows: Sequence[Sequence[int]]
    ) -> Iterator[tuple[list[int], list[list[FloatArray]]]]:
        """Yield (indices of texts, for each the logits of each head), batch by batch.

        Args:
            rows: Token ids of each text.

        Yields:
            See `LinearHeads.apply` for the shapes.
        """
        most = self.max_length
        rows = [row if len(row) <= most else [*row[: most - 1], row[-1]] for row in rows]
        for batch, hidden in self._engine.hidden(rows):
            yield batch, self._heads.apply(hidden, [len(rows[index]) for index in batch])

    def score(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Return what each head of labels says of each text.

        Args:
            texts: Any texts.

        Returns:
            Head -> probability (0..1), or for classes name -> probability.

        Raises:
            UsageError: It has heads of tags only.
        """
        if all(head.kind == "tags" for head in self.heads):
            raise UsageError(
                "this encoder was trained to tag and has no labels: use "
                "promptdetox.detect.load_tagger(folder).tag(texts)."
            )
        found: list[dict[str, Any]] = [{} for _ in texts]
        for batch, outputs in self.predict([ids for ids, _ in self.tokenizer.encode_texts(texts)]):
            for index, logits in zip(batch, outputs, strict=True):
                found[index] = self._read(logits)
        return found

    def _read(self, outputs: Sequence[FloatArray]) -> dict[str, Any]:
        says: dict[str, Any] = {}
        for head, logits in zip(self.heads, outputs, strict=True):
            if head.kind == "probability":
                says[head.name] = sigmoid(float(logits[0]))
            elif head.kind == "classes":
                shares = to_probabilities(logits).tolist()
                says[head.name] = dict(zip(head.classes, shares, strict=True))
        return says


def sigmoid(x: float) -> float:
    """Return the logistic function. Range: 0..1."""
    import numpy as np

    return float(1 / (1 + np.exp(-x)))


def load_learnt(folder: Path | str, *, threads: int | None = None) -> LearntEncoder:
    """Return what ``train --task classify``, ``tag`` or ``detect`` left.

    Args:
        folder: Where, or the name of a shipped one.
        threads: Workers, one thread each; default: one a core.

    Raises:
        ModelError: It is no such folder, is damaged, or its base model is another one.
    """
    shipped = shipped_folder() / folder
    folder = shipped if (shipped / LEARNT_FILE).is_file() else Path(folder).expanduser()
    learnt = read_json(folder / LEARNT_FILE)
    if "heads" not in learnt:
        raise ModelError(
            f"{folder} was trained for {learnt.get('task', 'rewrite')}: expected a result of "
            "`promptdetox train --task classify`, `--task tag` or `--task detect`."
        )
    try:
        base, recipe = learnt["base"], TrainConfig(**to_tuples(learnt["recipe"]))
        pinned = [learnt["base_sha256"], learnt["adapter_sha256"], learnt["heads_sha256"]]
        heads = read_heads(learnt["heads"])
    except (KeyError, TypeError, ConfigError) as error:
        raise ModelError(
            f"{folder / LEARNT_FILE} is damaged ({error}): expected what `promptdetox train` "
            "writes; train again, or get the file again."
        ) from error
    files = [folder / "adapter_model.safetensors", folder / HEADS_FILE]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise ModelError(f"{missing[0]} is missing: train again, or get the file again.")
    source = find_model(base)
    sums = [sha256_of(source.weight_files()[0]), *(sha256_of(file) for file in files)]
    for path, found, expected in zip([source.path, *files], sums, pinned, strict=True):
        if found != expected:
            raise ModelError(
                f"the weights in {path} are not the pinned ones: sha256 {found[:16]}, expected "
                f"{expected[:16]}; train again, or get the file again."
            )
    described = read_model_config(base)
    is_mapped = described.get("model_type") in registry.names("architecture")
    name = "ctranslate2" if is_mapped and can_merge(folder) else "transformers"
    engine = registry.resolve("encoder", name).load(base, adapter=folder, threads=threads)
    parts = [engine.digest, *sums]
    return LearntEncoder(
        engine,
        LinearHeads.load(heads, files[1]),
        digest=hashlib.sha256("".join(parts).encode()).hexdigest(),
        max_length=fit_length(SimpleNamespace(**described), recipe),
        facts=learnt,
    )
