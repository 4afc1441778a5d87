"""Settings: frozen dataclasses, read from TOML, where an unknown key is an error."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from promptdetox.errors import ConfigError, FileError, unknown_name
from promptdetox.types import CATEGORIES

LEXICON = "lexicon-en.v1"
DEFAULT_DETECTOR = LEXICON


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    """How `detect` works. Each field is also a flag of the command line."""

    detector: str | None = None
    """What finds toxic words: a registered tagger, a shipped or learnt one; none finds nothing.
    Default: lexicon-en.v1."""

    lexicon: str | None = None
    """Your own word list (.txt, .tsv, .csv, .json), used instead of the detector."""

    threshold: tuple[str, ...] = ()
    """Score from which a text is toxic: a number, for toxicity, or NAME=NUMBER of any category; a
    text is toxic if one of them is reached. Default: the detector's own."""

    allow: str | None = None
    """Your own list of terms that are no insult here: names, places, reclaimed words. They are
    hidden from the detector."""

    deny: str | None = None
    """Your own list of terms that are always toxic here."""

    explain: bool = False
    """Say what each span costs: the scores with it and without. Two more readings a span."""

    threads: int | None = None
    """Workers, one thread each; default: one a core."""

    def __post_init__(self) -> None:
        _check_types(self)
        self.thresholds  # noqa: B018  # raises if one is wrong
        if self.detector == "none" and self.lexicon is not None:
            raise ConfigError(
                "--detector none looks for nothing and --lexicon for a list: leave out one of them."
            )
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"--threads is {self.threads}: expected 1 or more.")

    @property
    def detector_name(self) -> str:
        """The detector, or the default one."""
        return self.detector or DEFAULT_DETECTOR

    @property
    def thresholds(self) -> dict[str, float]:
        """Category -> score from which a text is toxic, as given."""
        found: dict[str, float] = {}
        for item in self.threshold:
            name, equals, value = item.rpartition("=")
            name = name.strip().lower() if equals else "toxicity"
            if name not in CATEGORIES:
                raise unknown_name("category in --threshold", name, CATEGORIES)
            number = _number(value)
            if not 0 < number <= 1:
                raise ConfigError(
                    f"--threshold {item!r}: expected a number above 0 and up to 1, or NAME=NUMBER."
                )
            if name in found:
                raise ConfigError(f"--threshold names {name} twice: leave one of them out.")
            found[name] = number
        return found

    @property
    def digest(self) -> str:
        """sha256 of the settings, hex."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class RewriteConfig(DetectConfig):
    """How `rewrite` works. Each field is also a flag of the command line."""

    model: str = "detox-smollm2.v1"
    """Model: what was trained here, a packaged base model, a folder, a GGUF file or a hub id."""

    adapter: str | None = None
    """Folder of a LoRA adapter to merge into the base model."""

    engine: str = "ctranslate2"
    """What runs the model: ctranslate2, transformers or fake."""

    compute_type: Literal["int8", "float32"] = "int8"
    """Precision of the built model (ctranslate2)."""

    template: str | None = None
    """Prompt template: a registered name or a TOML file; default: by the kind of model."""

    demonstrations: str | None = None
    """File of pairs (columns text and target) from which each text gets its nearest neighbours;
    default: the template's own."""

    n_demonstrations: int = 4
    """How many neighbours each text gets."""

    encoder: str = "all-minilm-l6-v2"
    """Sentence encoder that finds the neighbours."""

    n_candidates: int = 1
    """Answers a text; the first without a toxic word is taken."""

    max_new_tokens: int = 512
    """Upper bound of an answer's length in tokens; half as long again as the text is one too."""

    on_failure: Literal["mask", "abstain"] = "mask"
    """Without an acceptable rewrite: mask the toxic words, or give the text back as it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("n_candidates", 1), ("n_demonstrations", 0), ("max_new_tokens", 1)):
            value = getattr(self, name)
            if value < least:
                raise ConfigError(f"{flag_of(name)} is {value}: expected {least} or more.")

    @property
    def detector_name(self) -> str:
        """The detector, or the default one: with the fake engine one that needs no weights."""
        by_default = LEXICON if self.engine == "fake" else DEFAULT_DETECTOR
        return self.detector or by_default


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How `train` works: a recipe. Each field is also a flag of the command line."""

    data: str
    """What is learnt from: a file, or hf: and the name of a data set on the hub."""

    output: str
    """Folder that the result goes to."""

    dev: str | None = None
    """What is validated on, likewise; default: none, and the last step is the result."""

    task: str = "rewrite"
    """What is learnt: rewrite, classify, tag or detect."""

    model: str | None = None
    """Base model: a packaged one, a folder, a GGUF file or a hub id; default: the task's."""

    text_column: str = "text"
    """Column of the text."""

    target_column: str | None = None
    """Rewrite: column of the target or of a list of targets; default: targets, or target."""

    labels: tuple[str, ...] = ("label",)
    """Classify, detect: columns to learn, one head each. Numbers of 0 to 1 are probabilities,
    anything else the names of classes; a row without a value teaches that head nothing."""

    weights: tuple[str, ...] = ()
    """Classify, tag, detect: how much a column's loss counts, NAME=NUMBER; default: 1 each."""

    method: str = "lora"
    """How it is learnt: a registered tuning method."""

    template: str | None = None
    """Prompt template: a registered name or a TOML file; default: rewrite-tuned.v1."""

    detector: str = LEXICON
    """Leaves out targets in which it finds something, and judges validation; none: neither."""

    references: Literal["all", "nearest"] = "all"
    """Of a text with several targets, learn all, or the one with the highest chrF to the text."""

    epochs: float = 1.0
    """How often each pair is seen."""

    batch_size: int = 32
    """Pairs a step."""

    max_length: int = 256
    """Tokens that prompt and target may have together; longer pairs are left out, and counted."""

    learning_rate: float = 5e-4
    """At its highest."""

    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""

    warmup: float = 0.05
    """Share of the steps in which the learning rate rises. Range: 0..1."""

    optimizer: Literal["adamw", "sgd"] = "adamw"
    """What changes the weights."""

    weight_decay: float = 0.0
    """Decoupled, of the trained weights."""

    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm; 0: never."""

    label_smoothing: float = 0.0
    """Share of the probability that goes to all other tokens. Range: 0..1."""

    unlikelihood: float = 0.0
    """Rewrite: weight of the penalty on going on with the text where the target leaves it, so that
    greedy decoding does not copy what it should replace."""

    dropout: float = 0.0
    """Of the method's own layers. Range: 0..1. On a CPU it is slow: measured with LoRA on
    SmolLM2-135M, 356 tokens a second without and 84 with."""

    rank: int = 16
    """LoRA: rank of the matrices."""

    alpha: int = 0
    """LoRA: the matrices' product is multiplied by alpha / rank; 0: twice the rank."""

    targets: tuple[str, ...] = ()
    """LoRA: names of the layers; default: all linear ones but the output."""

    dora: bool = False
    """LoRA: learn the magnitude apart (DoRA)."""

    n_virtual_tokens: int = 20
    """Prompt tuning, prefix tuning, P-tuning: length of what is learnt, in tokens."""

    init: Literal["vocabulary", "random", "text"] = "vocabulary"
    """Prompt tuning: what the virtual tokens begin as."""

    init_text: str = "Rewrite the toxic comment: polite, neutral, the same meaning."
    """Prompt tuning: the text that they begin as."""

    n_layers: int = 4
    """Top layers: how many, of each stack."""

    train_embeddings: bool = False
    """Top layers: the input embeddings too."""

    train_head: bool = False
    """Top layers: the output layer too."""

    bottleneck: int = 64
    """Bottleneck adapters: their inner width."""

    placement: Literal["houlsby", "pfeiffer"] = "houlsby"
    """Bottleneck adapters: behind attention and feed-forward, or the feed-forward block only."""

    eval_every: int = 200
    """Steps between validations and checkpoints."""

    n_dev: int = 200
    """Pairs to validate on, the first of the file."""

    patience: int = 0
    """Stop after so many validations without a better score; 0: never."""

    bf16: bool = False
    """Multiply in bfloat16; the trained weights stay in float32."""

    adversarial: Literal["none", "fgm", "pgd"] = "none"
    """Learn each batch a second time with its embeddings moved to where the loss is higher, by one
    step (fgm) or several (pgd)."""

    adversarial_epsilon: float = 0.1
    """How far, as a share of the norm of an example's embeddings."""

    adversarial_steps: int = 3
    """Steps of pgd."""

    augment: tuple[str, ...] = ()
    """Add changed copies of texts: registered augmentations, drawn from in turn."""

    augment_share: float = 0.3
    """Share of the texts that get a changed copy. Range: 0..1."""

    augment_model: str | None = None
    """What writes synonyms and paraphrases; default: the base model of rewrite."""

    translators: tuple[str, ...] = ()
    """Two models for back-translation: there and back."""

    seed: int = 0
    """Of everything that is drawn."""

    threads: int | None = None
    """Threads of torch; default: one a core."""

    def __post_init__(self) -> None:
        _check_types(self)
        for name in _AT_LEAST_0 | _AT_LEAST_1:
            value, least = getattr(self, name), 1 if name in _AT_LEAST_1 else 0
            if value is not None and not least <= value < math.inf:
                raise ConfigError(f"{flag_of(name)} is {value}: expected {least} or more.")
        for name in ("warmup", "label_smoothing", "dropout", "augment_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{flag_of(name)} is {getattr(self, name)}: expected 0 to 1.")
        for name in ("epochs", "learning_rate", "adversarial_epsilon"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(
                    f"{flag_of(name)} is {getattr(self, name)}: expected more than 0."
                )
        if self.max_length < 8:
            raise ConfigError(f"--max-length is {self.max_length}: expected 8 or more.")
        if self.patience and self.dev is None:
            raise ConfigError("--patience counts validations: give --dev, or leave it out.")
        self.column_weights  # noqa: B018  # raises if one is wrong
        for name in ("labels", "augment"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ConfigError(f"{flag_of(name)} has the same name twice: {', '.join(values)}.")

    @property
    def column_weights(self) -> dict[str, float]:
        """Column -> how much its loss counts, as given."""
        found = {}
        for item in self.weights:
            name, equals, value = item.rpartition("=")
            number = _number(value)
            if not (equals and name.strip() and 0 < number < math.inf):
                raise ConfigError(f"--weights {item!r}: expected NAME=NUMBER, above 0.")
            found[name.strip()] = number
        return found

    @property
    def resume_digest(self) -> str:
        """sha256 of what decides the result, hex: not where it goes, nor the threads."""
        settings = {k: v for k, v in asdict(self).items() if k not in ("output", "threads")}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    @property
    def digest(self) -> str:
        """sha256 of the settings, hex."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


_AT_LEAST_0 = {
    "weight_decay",
    "max_grad_norm",
    "unlikelihood",
    "alpha",
    "patience",
    "seed",
}
_AT_LEAST_1 = {
    "batch_size",
    "rank",
    "n_virtual_tokens",
    "n_layers",
    "bottleneck",
    "eval_every",
    "n_dev",
    "adversarial_steps",
    "threads",
}


def _number(value: str) -> float:
    """Return a number, or not-a-number for what is none."""
    try:
        return float(value)
    except ValueError:
        return math.nan


def flag_of(name: str) -> str:
    """Return the flag of the command line for a setting."""
    return "--candidates" if name == "n_candidates" else f"--{name.replace('_', '-')}"


def load_config(path: Path | None, overrides: Mapping[str, Any] | None = None) -> RewriteConfig:
    """Return the settings of a TOML file, with overrides on top.

    Args:
        path: The file; None for the defaults.
        overrides: Field -> value; a None is no override.

    Raises:
        FileError: The file cannot be read.
        ConfigError: Not TOML, an unknown key (the nearest is named), or a bad value.
    """
    return RewriteConfig(**_spell(_read_settings(RewriteConfig, path, overrides)))


def load_detection(path: Path | None, overrides: Mapping[str, Any] | None = None) -> DetectConfig:
    """Return the settings of `detect`, as `load_config` does.

    The file may be one of `rewrite`: what detection does not know is left alone.

    Raises:
        FileError: The file cannot be read.
        ConfigError: Not TOML, an unknown key (the nearest is named), or a bad value.
    """
    table = _read_settings(RewriteConfig, path, None)
    known = {field.name for field in fields(DetectConfig)}
    table = {name: value for name, value in table.items() if name in known}
    return DetectConfig(**_spell(table | _read_settings(DetectConfig, None, overrides)))


def load_recipe(path: Path | None, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """Return the settings of a training run, as `load_config` does.

    Raises:
        FileError: The file cannot be read.
        ConfigError: Not TOML, an unknown key, a bad value, or no data or output.
    """
    table = to_tuples(_read_settings(TrainConfig, path, overrides))
    for name in ("data", "output"):
        if name not in table:
            raise ConfigError(f"{flag_of(name)} is missing: give it, or a recipe that has it.")
    return TrainConfig(**table)


def _spell(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of detection with thresholds as flags spell them.

    ``threshold`` may be a number, a string, a list of these, or a table of numbers by category.
    """
    value = table.get("threshold")
    if isinstance(value, Mapping):
        value = [f"{name}={number}" for name, number in value.items()]
    elif isinstance(value, str):
        value = value.split(",")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        value = [value]
    if isinstance(value, list | tuple):
        is_number = [isinstance(v, int | float) and not isinstance(v, bool) for v in value]
        value = tuple(str(v) if n else v for v, n in zip(value, is_number, strict=True))
    return to_tuples({**table, "threshold": value} if "threshold" in table else table)


def to_tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with lists as tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}


def _read_settings(
    kind: Any, path: Path | None, overrides: Mapping[str, Any] | None
) -> dict[str, Any]:
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text("utf-8-sig"))
        except OSError as error:
            raise FileError(f"cannot read the settings in {path}: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: a long integer
            raise ConfigError(f"{path} is not TOML: {error}.") from error
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    table |= {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in given.items()}
    known = [field.name for field in fields(kind)]
    for key in table:
        if key not in known:
            where = f" in {path}" if path else ""
            raise unknown_name(f"setting{where}", key, known)
    return table


_SPOKEN = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _check_types(config: Any) -> None:
    hints = typing.get_type_hints(type(config))
    for field in fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        options = typing.get_args(hint)
        if typing.get_origin(hint) is Literal:
            if value not in options:
                expected = " or ".join(repr(option) for option in options)
                raise ConfigError(f"{flag_of(field.name)} is {value!r}: expected {expected}.")
            continue
        if typing.get_origin(hint) is tuple:
            if not isinstance(value, tuple) or not all(isinstance(v, options[0]) for v in value):
                raise ConfigError(f"{flag_of(field.name)} is {value!r}: expected a list of names.")
            continue
        types = options or (hint,)
        if float in types and isinstance(value, int) and not isinstance(value, bool):
            continue  # TOML writes 3 for 3.0
        if not isinstance(value, types) or isinstance(value, bool) is not (bool in types):
            names = " or ".join(_SPOKEN[t] for t in types if t is not type(None))
            raise ConfigError(f"{flag_of(field.name)} is {value!r}: expected {names}.")
