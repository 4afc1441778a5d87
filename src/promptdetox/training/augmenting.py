"""Changed copies of texts, made once before the first step, so that a resumed run has the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

from promptdetox import registry
from promptdetox.augment.context import Augmentation, Augmenting
from promptdetox.config import TrainConfig
from promptdetox.errors import ConfigError, ModelError
from promptdetox.tasks import load_task
from promptdetox.types import Generator, Tagger


def check_augmentations(config: TrainConfig, *, keeps_spans: bool = False) -> None:
    """Check the names before anything is loaded.

    Args:
        config: The recipe.
        keeps_spans: Only those will do that can be given a piece of a text.

    Raises:
        ConfigError: An unknown name, or one that moves the spans of a text.
    """
    for name in config.augment:
        augmentation: Augmentation = registry.resolve("augmentation", name)
        if keeps_spans and not augmentation.is_local:
            local = [n for n in registry.names("augmentation") if _is_local(n)]
            raise ConfigError(
                f"--augment {name} writes a new text, in which the spans are lost: expected "
                f"{', '.join(local)} for --task {config.task}."
            )


def _is_local(name: str) -> bool:
    augmentation: Augmentation = registry.resolve("augmentation", name)
    return augmentation.is_local


def copy_texts(
    texts: Sequence[Sequence[str]], config: TrainConfig, tagger: Tagger | None, added: Counter[str]
) -> Iterator[tuple[int, list[str]]]:
    """Yield changed copies: (index of the text, its pieces).

    Args:
        texts: Each as pieces, which stay pieces; one piece where nothing depends on positions.
        config: Says which augmentations, and how many of the texts.
        tagger: Finds the toxic words.
        added: Counts the copies by augmentation, and the texts that could not be changed.

    Raises:
        ConfigError: An augmentation lacks its model.
    """
    if not config.augment:
        return
    chance = random.Random(f"{config.seed} copies")
    chosen = [index for index in range(len(texts)) if chance.random() < config.augment_share]
    context = Augmenting(
        load_generator=_load_generator,
        seed=config.seed,
        tagger=tagger,
        model=config.augment_model or load_task("rewrite").model,
        translators=config.translators,
    )
    for at, name in enumerate(config.augment):
        indices = chosen[at :: len(config.augment)]
        pieces = [piece for index in indices for piece in texts[index]]
        results = iter(registry.resolve("augmentation", name).apply(pieces, context))
        for index in indices:
            old = texts[index]
            new = [piece if (made := next(results)) is None else made for piece in old]
            if new == list(old):
                added[f"not changed by {name}"] += 1
            else:
                added[name] += 1
                yield index, new
    _load_generator.cache_clear()  # the engines' memory is needed for training


@cache
def _load_generator(model: str) -> Generator:
    """Return the fast engine for a model, or the one that takes any."""
    errors: list[ModelError] = []
    for engine in ("ctranslate2", "transformers"):
        try:
            generator: Generator = registry.resolve("generator", engine).load(model)
            return generator
        except ModelError as error:
            errors.append(error)
    raise errors[-1]
