"""Every named part, as ``name -> "module:attribute"``, imported when first asked for.

Adding a part is one file and one line here.
"""

from __future__ import annotations

import importlib
from typing import Any

from promptdetox.errors import unknown_name

REGISTRY: dict[str, dict[str, str]] = {
    "generator": {
        "ctranslate2": "promptdetox.engines.ctranslate2:CTranslate2Generator",
        "transformers": "promptdetox.engines.transformers:TransformersGenerator",
        "fake": "promptdetox.engines.fake:FakeGenerator",
    },
    "encoder": {
        "ctranslate2": "promptdetox.engines.ctranslate2:CTranslate2Encoder",
        "transformers": "promptdetox.engines.transformers:TransformersEncoder",
        "fake": "promptdetox.engines.fake:FakeEncoder",
    },
    "architecture": {
        "llama": "promptdetox.models.llama:ARCHITECTURE",
        "bert": "promptdetox.models.bert:ARCHITECTURE",
    },
    "tagger": {
        "lexicon-en.v1": "promptdetox.spans.lexicon:load_default",
        "none": "promptdetox.spans.none:load_none",
        "prompted-zero": "promptdetox.spans.prompted:load_zero",
        "prompted-few": "promptdetox.spans.prompted:load_few",
    },
    "scorer": {
        "chrf": "promptdetox.scorers.chrf:ChrF",
        "lexicon_neutral": "promptdetox.scorers.lexicon_neutral:LexiconNeutral",
        "copy_rate": "promptdetox.scorers.copy_rate:CopyRate",
        "length_ratio": "promptdetox.scorers.length_ratio:LengthRatio",
    },
    "baseline": {
        "copy": "promptdetox.baselines:copy_text",
        "deletion": "promptdetox.baselines:delete_spans",
    },
    "template": {
        "rewrite-chat.v1": "promptdetox.prompts.templates:rewrite-chat.v1.toml",
        "rewrite-chat-few.v1": "promptdetox.prompts.templates:rewrite-chat-few.v1.toml",
        "rewrite-plain.v1": "promptdetox.prompts.templates:rewrite-plain.v1.toml",
        "rewrite-plain-few.v1": "promptdetox.prompts.templates:rewrite-plain-few.v1.toml",
        "rewrite-tuned.v1": "promptdetox.prompts.templates:rewrite-tuned.v1.toml",
        "rewrite-marked.v1": "promptdetox.prompts.templates:rewrite-marked.v1.toml",
        "tag-plain.v1": "promptdetox.prompts.templates:tag-plain.v1.toml",
        "tag-plain-few.v1": "promptdetox.prompts.templates:tag-plain-few.v1.toml",
        "paraphrase-plain.v1": "promptdetox.prompts.templates:paraphrase-plain.v1.toml",
        "synonyms-plain.v1": "promptdetox.prompts.templates:synonyms-plain.v1.toml",
    },
    "augmentation": {
        "obfuscate": "promptdetox.augment.obfuscate:AUGMENTATION",
        "case": "promptdetox.augment.case:AUGMENTATION",
        "punctuation": "promptdetox.augment.punctuation:AUGMENTATION",
        "synonyms": "promptdetox.augment.synonyms:AUGMENTATION",
        "paraphrase": "promptdetox.augment.paraphrase:AUGMENTATION",
        "back-translation": "promptdetox.augment.back_translation:AUGMENTATION",
    },
    "method": {
        "lora": "promptdetox.methods.lora:METHOD",
        "ia3": "promptdetox.methods.ia3:METHOD",
        "bottleneck": "promptdetox.methods.bottleneck:METHOD",
        "prompt-tuning": "promptdetox.methods.prompt_tuning:METHOD",
        "prefix-tuning": "promptdetox.methods.prefix_tuning:METHOD",
        "p-tuning": "promptdetox.methods.p_tuning:METHOD",
        "bitfit": "promptdetox.methods.bitfit:METHOD",
        "top-layers": "promptdetox.methods.top_layers:METHOD",
        "full": "promptdetox.methods.full:METHOD",
    },
    "task": {
        "rewrite": "promptdetox.tasks:rewrite.toml",
        "classify": "promptdetox.tasks:classify.toml",
        "tag": "promptdetox.tasks:tag.toml",
        "detect": "promptdetox.tasks:detect.toml",
    },
    "objective": {
        "rewriting": "promptdetox.objectives.rewriting:Rewriting",
        "labelling": "promptdetox.objectives.labelling:Labelling",
    },
}


# What users call a kind, where it differs: it is the flag that they mistyped.
_SPOKEN = {"generator": "engine", "tagger": "detector"}


def names(kind: str) -> list[str]:
    """Return the registered names of a kind, in order of registration.

    Raises:
        ConfigError: No such kind.
    """
    if kind not in REGISTRY:
        raise unknown_name("kind", kind, REGISTRY)
    return list(REGISTRY[kind])


def locate(kind: str, name: str) -> tuple[str, str]:
    """Return (module, attribute or file) of a registered part.

    Raises:
        ConfigError: No such kind or name; the message has the nearest one.
    """
    if kind not in REGISTRY:
        raise unknown_name("kind", kind, REGISTRY)
    if name not in REGISTRY[kind]:
        raise unknown_name(_SPOKEN.get(kind, kind), name, REGISTRY[kind])
    module, _, attribute = REGISTRY[kind][name].partition(":")
    return module, attribute


def resolve(kind: str, name: str) -> Any:
    """Import and return a registered part.

    Raises:
        ConfigError: No such kind or name; the message has the nearest one.
    """
    module, attribute = locate(kind, name)
    return getattr(importlib.import_module(module), attribute)
