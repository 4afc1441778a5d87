"""What `train` left behind for a masked encoder -> what it says of texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from promptdetox import registry
from promptdetox.config import TrainConfig
from promptdetox.errors import ModelError, UsageError
from promptdetox.models.catalog import LEARNT_FILE, find_model, sha256_of
from promptdetox.models.checkpoint import read_json
from promptdetox.models.fit import fit_length
from promptdetox.training.encoder import HEADS_FILE, EncoderBase, Head, HeadedEncoder, read_heads


class LearntEncoder:
    """An encoder with its adapter and heads.

    Args:
        base: The base model.
        network: With adapter and heads.
        digest: Of base model, adapter and heads, hex.
        max_length: Tokens that a text may have; the rest is not read.
    """

    def __init__(
        self, base: EncoderBase, network: HeadedEncoder, *, digest: str, max_length: int
    ) -> None:
        self._base, self._network = base, network.eval()
        self.digest = digest
        self.max_length = max_length
        self.tokenizer = base.tokenizer

    @property
    def heads(self) -> tuple[Head, ...]:
        """What each head says."""
        heads: tuple[Head, ...] = self._network.specs
        return heads

    def predict(self, rows: Sequence[Sequence[int]]) -> list[list[Any]]:
        """Return the logits of each head for token ids, as arrays, see `HeadedEncoder`."""
        return self._base.predict(self._network, [row[: self.max_length] for row in rows])

    def score(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Return what each head of labels says of each text.

        Args:
            texts: Any texts.

        Returns:
            Head -> probability (0..1), or for classes name -> probability.

        Raises:
            UsageError: It has heads of tags only.
        """
        import numpy as np

        if all(head.kind == "tags" for head in self.heads):
            raise UsageError(
                "this encoder was trained to tag and has no labels: use "
                "promptdetox.detect.load_tagger(folder).tag(texts)."
            )
        rows = [self.tokenizer.encode_text(text)[0] for text in texts]
        found = []
        for outputs in self.predict(rows):
            says: dict[str, Any] = {}
            for head, logits in zip(self.heads, outputs, strict=True):
                if head.kind == "probability":
                    says[head.name] = float(1 / (1 + np.exp(-logits[0])))
                elif head.kind == "classes":
                    shares = np.exp(logits - logits.max())
                    shares = (shares / shares.sum()).tolist()
                    says[head.name] = dict(zip(head.classes, shares, strict=True))
            found.append(says)
        return found


def load_learnt(folder: Path | str) -> LearntEncoder:
    """Return what ``train --task classify`` or ``--task tag`` left in a folder.

    Raises:
        ModelError: It is no such folder, is damaged, or its base model is another one.
    """
    folder = Path(folder)
    learnt = read_json(folder / LEARNT_FILE)
    if "heads" not in learnt:
        raise ModelError(
            f"{folder} was trained for {learnt.get('task', 'rewrite')}: expected a result of "
            "`promptdetox train --task classify` or `--task tag`."
        )
    try:
        recipe = TrainConfig(**{**learnt["recipe"], **_tuples_of(learnt["recipe"])})
        source = find_model(learnt["base"])
        pinned = [learnt["base_sha256"], learnt["adapter_sha256"], learnt["heads_sha256"]]
        heads = read_heads(learnt["heads"])
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"{folder / LEARNT_FILE} is damaged ({error}): expected what `promptdetox train` "
            "writes; train again, or get the file again."
        ) from error
    files = [folder / "adapter_model.safetensors", folder / HEADS_FILE]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise ModelError(f"{missing[0]} is missing: train again, or get the file again.")
    sums = [sha256_of(source.weight_files()[0]), *(sha256_of(file) for file in files)]
    for path, found, expected in zip([source.path, *files], sums, pinned, strict=True):
        if found != expected:
            raise ModelError(
                f"the weights in {path} are not the pinned ones: sha256 {found[:16]}, expected "
                f"{expected[:16]}; train again, or get the file again."
            )
    base = EncoderBase.load(learnt["base"])
    attached = registry.resolve("method", learnt["method"]).load(base.network, folder)
    network = base.finish(attached, heads, dropout=0.0)
    network.heads.load_state_dict(load_file(folder / HEADS_FILE))
    return LearntEncoder(
        base,
        network,
        digest=hashlib.sha256("".join(sums).encode()).hexdigest(),
        max_length=fit_length(base.network.config, replace(recipe, max_length=10**6)),
    )


def _tuples_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that JSON keeps as lists."""
    return {name: tuple(value) for name, value in recipe.items() if isinstance(value, list)}
