"""The reference engine: Hugging Face transformers, any causal or sequence-to-sequence model."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from promptdetox import registry
from promptdetox.engines.answers import cut_answer
from promptdetox.engines.ctranslate2 import n_cores
from promptdetox.engines.encoding import mean_vectors, plan_batches
from promptdetox.errors import ModelError
from promptdetox.methods.peft_adapter import generate
from promptdetox.models.adapter import adapter_files
from promptdetox.models.catalog import ModelSource, find_model, sha256_of
from promptdetox.models.checkpoint import read_json
from promptdetox.models.tokenizer import PromptTokenizer
from promptdetox.types import Candidate, Decoding, Prompt

if TYPE_CHECKING:
    from pathlib import Path

    from promptdetox.types import FloatArray

_BATCH_SIZE = 16


class TransformersGenerator:
    """Continues prompts in float32, slowly: the oracle that faster engines are compared with.

    Source: https://huggingface.co/docs/transformers
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, digest: str, template: str | None = None
    ) -> None:
        self._model = model.eval()
        self._hf_tokenizer = tokenizer
        self._template = template
        self._digest = digest
        self._is_seq2seq = bool(model.config.is_encoder_decoder)
        bos = tokenizer.bos_token
        self._tokenizer = PromptTokenizer(tokenizer.backend_tokenizer.to_str(), bos_token=bos)
        self._end_ids: dict[tuple[str, ...], list[int]] = {}

    @classmethod
    def load(
        cls,
        model: str,
        *,
        adapter: Path | None = None,
        threads: int | None = None,
        compute_type: str = "float32",
    ) -> TransformersGenerator:
        """Return the engine for a model; always float32, whatever the compute type.

        Raises:
            ModelError: torch is not installed, or the model cannot be loaded.
        """
        network, tokenizer = load_network(model, threads=threads)
        source = find_model(model)
        files = source.definition_files()
        adapter = adapter or source.adapter
        if adapter is not None:
            network = _load_adapter(network, adapter)
            files += adapter_files(adapter)
        digest = _digest_of(files)
        return cls(network, tokenizer, digest=digest, template=source.template)

    @property
    def digest(self) -> str:
        """Identity of the weights, hex."""
        return self._digest

    @property
    def max_length(self) -> int:
        """Tokens that prompt and answer may have together."""
        config = self._model.config
        for name in ("max_position_embeddings", "n_positions"):
            if getattr(config, name, None):
                return int(getattr(config, name))
        return 512

    @property
    def chat_template(self) -> str | None:
        """The model's Jinja chat template; None for a plain model."""
        template = self._hf_tokenizer.chat_template
        return template if isinstance(template, str) else None

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """Control tokens that chat templates name."""
        names = ("bos_token", "eos_token")
        return {name: token for name in names if (token := getattr(self._hf_tokenizer, name))}

    @property
    def template(self) -> str | None:
        """Prompt template that the model was tuned with; None for a base model."""
        return self._template

    def count_tokens(self, prompt: Prompt) -> int:
        """Return the length of a prompt in tokens."""
        return len(self.token_ids(prompt))

    def token_ids(self, prompt: Prompt) -> list[int]:
        """Return the token ids of a prompt; sequence-to-sequence models get their end token."""
        ids = self._tokenizer.encode(prompt)
        end = self._hf_tokenizer.eos_token_id
        return [*ids, end] if self._is_seq2seq and end is not None else ids

    def generate(
        self, prompts: Sequence[Prompt], *, decoding: Sequence[Decoding]
    ) -> Iterator[list[Candidate]]:
        """Yield the candidates of each prompt, in order: greedy, or the n best of a beam of n."""
        for prompt, options in zip(prompts, decoding, strict=True):
            yield self._generate_one(prompt, options)

    def _generate_one(self, prompt: Prompt, options: Decoding) -> list[Candidate]:
        torch, _ = import_torch()
        ids = self.token_ids(prompt)
        ends = self._find_end_ids(prompt.stop)
        inputs = torch.tensor([ids])
        with torch.inference_mode():
            result = generate(
                self._model,
                inputs,
                torch.ones_like(inputs),
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                num_beams=options.n_candidates,
                num_return_sequences=options.n_candidates,
                max_new_tokens=options.max_new_tokens,
                eos_token_id=ends,
                pad_token_id=ends[0],
                return_dict_in_generate=True,
                output_scores=True,
            )
        n_prompt = 1 if self._is_seq2seq else len(ids)
        beams = getattr(result, "beam_indices", None)
        log_probs = self._model.compute_transition_scores(
            result.sequences, result.scores, beams, normalize_logits=beams is None
        )
        return [
            self._read_answer(sequence[n_prompt:].tolist(), row.tolist(), ends, prompt)
            for sequence, row in zip(result.sequences, log_probs, strict=True)
        ]

    def _read_answer(
        self, ids: list[int], log_probs: list[float], ends: list[int], prompt: Prompt
    ) -> Candidate:
        n = next((at for at, token in enumerate(ids) if token in ends), len(ids))
        used = log_probs[: n + 1]
        return Candidate(
            text=cut_answer(self._tokenizer.decode(ids[:n]), prompt.stop),
            log_prob=sum(used) / max(len(used), 1),
            n_tokens=n,
            is_finished=n < len(ids),
            tokens=tuple(ids[:n]),
        )

    def _find_end_ids(self, stop: tuple[str, ...]) -> list[int]:
        if stop not in self._end_ids:
            known = self._model.generation_config.eos_token_id
            known = known if known is not None else self._hf_tokenizer.eos_token_id
            ids = list(known) if isinstance(known, list) else [known]
            for string in stop:
                tokens = self._tokenizer.tokens_starting_with(string)
                ids += [self._hf_tokenizer.convert_tokens_to_ids(token) for token in tokens]
            self._end_ids[stop] = [i for i in dict.fromkeys(ids) if i is not None]
        return self._end_ids[stop]

    def score(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[float]:
        """Return the mean log-probability a token of each target after its prompt."""
        torch, _ = import_torch()
        scores = []
        for prompt, target in zip(prompts, targets, strict=True):
            ids, answer = self.token_ids(prompt), self._tokenizer.encode_user(target)
            if not answer:
                scores.append(0.0)
                continue
            with torch.inference_mode():
                if self._is_seq2seq:
                    labels = torch.tensor([answer])
                    logits = self._model(input_ids=torch.tensor([ids]), labels=labels).logits[0]
                else:
                    line = torch.tensor([[*ids, *answer]])
                    logits = self._model(input_ids=line).logits[0, len(ids) - 1 : -1]
                picked = logits.log_softmax(-1)[range(len(answer)), answer]
            scores.append(float(picked.mean()))
        return scores


class TransformersEncoder:
    """Turns texts into vectors with any encoder, and any adapter.

    Source: Reimers and Gurevych 2019, Sentence-BERT, https://arxiv.org/abs/1908.10084
    """

    def __init__(self, network: Any, tokenizer: PromptTokenizer, *, pad_id: int, digest: str):
        self._network = network.eval()
        self._pad_id = pad_id
        self._digest = digest
        self.tokenizer = tokenizer

    @classmethod
    def load(
        cls, model: str, *, adapter: Path | None = None, threads: int | None = None, **_: Any
    ) -> TransformersEncoder:
        """Return the engine for a model.

        Raises:
            ModelError: torch is not installed, or the model cannot be loaded.
        """
        network, hf_tokenizer = load_encoder_network(model, threads=threads)
        files = find_model(model).definition_files()
        if adapter is not None:
            network = _load_adapter(network, adapter)
            files += adapter_files(adapter)
        return cls(
            network,
            PromptTokenizer(hf_tokenizer.backend_tokenizer.to_str()),
            pad_id=int(hf_tokenizer.pad_token_id or 0),
            digest=_digest_of(files),
        )

    @property
    def digest(self) -> str:
        """Identity of the weights, hex."""
        return self._digest

    @property
    def max_length(self) -> int:
        """Tokens that a text may have."""
        return int(getattr(self._network.config, "max_position_embeddings", 512))

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return one unit vector a text, by mean pooling. Shape: (texts, hidden), float32."""
        return mean_vectors(self, texts)

    def hidden(self, rows: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], FloatArray]]:
        """Yield the hidden states of token ids, see `TokenEncoder`."""
        torch, _ = import_torch()
        for batch in plan_batches([len(row) for row in rows]):
            width = max(len(rows[index]) for index in batch)
            ids = [[*rows[index], *[self._pad_id] * (width - len(rows[index]))] for index in batch]
            mask = [[1] * len(rows[i]) + [0] * (width - len(rows[i])) for i in batch]
            with torch.inference_mode():
                states = self._network(
                    input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)
                ).last_hidden_state
            # A soft prompt puts positions in front that are no part of the text.
            yield batch, states[:, states.shape[1] - width :].float().numpy()


def load_network(model: str, *, threads: int | None = None) -> tuple[Any, Any]:
    """Return the network, in float32, and the tokenizer of a causal or seq2seq model.

    Raises:
        ModelError: torch is not installed, or the model cannot be loaded.
    """

    def choose(transformers: Any, config: Any) -> tuple[Any, dict[str, Any]]:
        kind = "Seq2SeqLM" if config.is_encoder_decoder else "CausalLM"
        return getattr(transformers, f"AutoModelFor{kind}"), {}

    network, tokenizer = _load(model, threads, choose)
    # GGUF weights are float32 by now, and may be trained; transformers still calls them quantised.
    network.is_quantized, network.hf_quantizer = False, None
    if hasattr(network.config, "quantization_config"):
        del network.config.quantization_config
    return network, tokenizer


def load_encoder_network(model: str, *, threads: int | None = None) -> tuple[Any, Any]:
    """Return the network, in float32 and without a pooler, and the tokenizer of an encoder.

    Raises:
        ModelError: torch is not installed, or the model cannot be loaded.
    """

    def choose(transformers: Any, config: Any) -> tuple[Any, dict[str, Any]]:
        kind = transformers.MODEL_MAPPING[type(config)]
        # Heads read the hidden states; a pooler would be trained by nothing.
        has_pooler = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
        return kind, {"add_pooling_layer": False} if has_pooler else {}

    return _load(model, threads, choose)


def _load(
    model: str, threads: int | None, choose: Callable[[Any, Any], tuple[Any, dict[str, Any]]]
) -> tuple[Any, Any]:
    """Return network and tokenizer.

    Args:
        model: Name of the model.
        threads: Of torch; None: one a core.
        choose: transformers and the model's configuration -> class, and options for it.
    """
    torch, transformers = import_torch()
    # CTranslate2, where it is loaded too, tells OpenMP to use one thread for the whole process.
    torch.set_num_threads(threads or n_threads())
    source = find_model(model)
    folder, options = _loading_options(source)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        config = transformers.AutoConfig.from_pretrained(folder, **options)
        kind, more = choose(transformers, config)
        with _quietly(transformers):
            network = kind.from_pretrained(folder, dtype=torch.float32, **options, **more)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"transformers cannot load {source.path}: {error}") from error
    return network, tokenizer


@contextmanager
def _quietly(transformers: Any) -> Iterator[None]:
    """Keep transformers' progress bars and reports of unused weights away from the user."""
    logging_of = transformers.utils.logging
    had_bars, verbosity = logging_of.is_progress_bar_enabled(), logging_of.get_verbosity()
    logging_of.disable_progress_bar()
    logging_of.set_verbosity_error()
    try:
        yield
    finally:
        logging_of.set_verbosity(verbosity)
        if had_bars:
            logging_of.enable_progress_bar()


def _loading_options(source: ModelSource) -> tuple[str, dict[str, Any]]:
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if source.path.is_file():
        return str(source.path.parent), {**options, "gguf_file": source.path.name}
    source.weight_files()  # refuses folders that hold pickles only
    return str(source.path), options


def _load_adapter(network: Any, folder: Path) -> Any:
    """Return the network with an adapter, peft's or of our own methods, attached."""
    name = read_json(folder / "adapter_config.json").get("promptdetox_method")
    if name is not None:
        return registry.resolve("method", name).load(network, folder)
    import peft

    return peft.PeftModel.from_pretrained(network, str(folder))


def _digest_of(files: Sequence[Path]) -> str:
    sums = "".join(sha256_of(path) for path in files)
    return hashlib.sha256(f"float32 {sums}".encode()).hexdigest()


def n_threads() -> int:
    """Return the threads that torch may use: ``OMP_NUM_THREADS``, or one a core."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) > 0 else n_cores()


def import_torch() -> tuple[Any, Any]:
    """Return torch and transformers.

    Raises:
        ModelError: They are not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ModelError(
            "training and the transformers engine need torch: run `pip install "
            "'promptdetox[train]'`, or rewrite with `--engine ctranslate2`."
        ) from error
    return torch, transformers
