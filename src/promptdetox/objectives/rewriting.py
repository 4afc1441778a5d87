"""Rewriting: a prompt and its target, learnt token by token, judged by greedy rewrites.

Source: design of Logacheva et al. 2022, ParaDetox, https://aclanthology.org/2022.acl-long.469.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.detect import Detector, load_tagger
from promptdetox.engines.transformers import load_network
from promptdetox.errors import ConfigError
from promptdetox.models.fit import fit_length
from promptdetox.models.tokenizer import PromptTokenizer
from promptdetox.prompts.builder import PromptBuilder
from promptdetox.prompts.template import load_template
from promptdetox.training.augmenting import check_augmentations, copy_texts
from promptdetox.training.data import read_rows
from promptdetox.training.examples import FindSpans, encode_pairs, read_pairs
from promptdetox.training.loss import collate, target_loss
from promptdetox.training.objective import Card, Examples
from promptdetox.training.validation import Validation
from promptdetox.types import Pair, Span

# Texts that a model must rewrite without marks: it is used without a detector, too.
_UNMARKED = 0.5
_CARD = Card(
    purpose="rewrites toxic English comments so that the meaning stays",
    use="`promptdetox rewrite --model {name}`. Rewrites are suggestions: read them before you "
    "publish them under somebody's name.",
    misuse="Do not use it to make an author appear to have said what they did not say. It was "
    "never trained in the other direction, and must not be.",
    limits="English, one sentence or two at a time. It may keep an insult that it has not seen, "
    "change what was meant, or make a threat sound polite, which makes it no less a threat. The "
    "pairs it learnt from hold the annotators' idea of what is toxic.",
)


class Rewriting:
    """Learns targets, given prompts.

    Args:
        config: The recipe, with its model.

    Raises:
        ConfigError: An unknown template or augmentation.
        DataError: No pair to learn from, or to validate on.
        ModelError: The base model cannot be loaded.
    """

    kinds = ("causal", "seq2seq")
    card = _CARD

    def __init__(self, config: TrainConfig) -> None:
        check_augmentations(config)
        template = load_template(config.template or "rewrite-tuned.v1")
        is_judged = config.detector != "none"
        self._detector = Detector.from_pretrained(config.detector) if is_judged else None
        if template.marks and self._detector is None:
            raise ConfigError(
                f"the template {template.name} marks toxic words, and --detector none finds none: "
                "name a detector, or another template."
            )
        self._config = config
        self.network, hf_tokenizer = load_network(config.model or "", threads=config.threads)
        self.is_seq2seq = bool(self.network.config.is_encoder_decoder)
        self.end_id = int(hf_tokenizer.eos_token_id)
        self.tokenizer = PromptTokenizer(
            hf_tokenizer.backend_tokenizer.to_str(), bos_token=hf_tokenizer.bos_token
        )
        specials = {n: t for n in ("bos_token", "eos_token") if (t := getattr(hf_tokenizer, n))}
        self.builder = PromptBuilder(
            template,
            chat_template=hf_tokenizer.chat_template,
            special_tokens=specials,
            count_tokens=lambda prompt: len(self.tokenizer.encode(prompt)),
            max_tokens=config.max_length,
        )
        self.examples = self._read_examples()
        self._validation = self._open_validation() if config.dev else None

    def _read_examples(self) -> Examples:
        config, found = self._config, Examples()
        pairs = read_pairs(
            read_rows(config.data, config),
            found,
            name=config.data,
            find_toxic=self._detector.find_toxic if self._detector else None,
            references=config.references,
            target_column=config.target_column,
        )
        is_tagged = config.augment and config.detector != "none"
        tagger = load_tagger(config.detector) if is_tagged else None
        copies = copy_texts([[pair.text] for pair in pairs], config, tagger, found.added)
        changed = [Pair(pieces[0], pairs[index].target) for index, pieces in copies]
        pairs += [pair for pair in changed if pair.text.strip() != pair.target]
        encode_pairs(
            pairs,
            found,
            name=config.data,
            builder=self.builder,
            tokenizer=self.tokenizer,
            end_id=self.end_id,
            is_seq2seq=self.is_seq2seq,
            max_length=fit_length(self.network.config, config),
            finds_copies=config.unlikelihood > 0,
            spans=self._choose_marked([pair.text for pair in pairs]),
        )
        return found

    def _open_validation(self) -> Validation:
        config = self._config
        return Validation(
            read_rows(config.dev or "", config),
            name=config.dev or "",
            n=config.n_dev,
            builder=self.builder,
            tokenizer=self.tokenizer,
            end_id=self.end_id,
            target_column=config.target_column,
            find_toxic=self._detector.find_toxic if self._detector else None,
            find_spans=self._find_spans(),
            is_seq2seq=self.is_seq2seq,
        )

    def _find_spans(self) -> FindSpans | None:
        has_marks = self._detector is not None and self.builder.template.marks
        return self._detector.find_spans if self._detector and has_marks else None

    def _choose_marked(self, texts: Sequence[str]) -> list[tuple[Span, ...]] | None:
        """Return what is marked in each text: its spans, and in half of the texts nothing."""
        find = self._find_spans()
        if find is None:
            return None
        chance = random.Random(f"{self._config.seed} marks")
        return [spans if chance.random() > _UNMARKED else () for spans in find(texts)]

    @property
    def n_validated(self) -> int:
        """Rows that figures are taken on."""
        return self._validation.n if self._validation else 0

    @property
    def facts(self) -> Mapping[str, Any]:
        """The template, which every prompt of this model must have."""
        template = self.builder.template
        return {"template": template.name, "template_digest": template.digest}

    def finish(self, attached: Any) -> Any:
        """Return the network as it is: it has its output layer."""
        return attached

    def collate(self, batch: list[Any]) -> dict[str, Any]:
        """Return a batch as tensors. Shape of each: (batch, tokens)."""
        return collate(batch, pad_id=self.end_id, is_seq2seq=self.is_seq2seq)

    def loss(self, network: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the cross-entropies' sum, natural log, and the target tokens."""
        return target_loss(
            network,
            batch,
            is_seq2seq=self.is_seq2seq,
            label_smoothing=self._config.label_smoothing,
            unlikelihood=self._config.unlikelihood,
        )

    def measure(self, network: Any) -> dict[str, float]:
        """Return ``score`` (chrF x neutral), ``chrf``, ``neutral`` and ``copies``."""
        assert self._validation is not None
        return self._validation.measure(network)

    def save(self, network: Any, folder: Path, save_adapter: Callable[[Any, Path], None]) -> None:
        """Write the adapter, and the template if it is a file of the user's."""
        save_adapter(network, folder)
        name = self.builder.template.name
        if Path(name).suffix == ".toml":
            shutil.copy(name, folder / "template.toml")
