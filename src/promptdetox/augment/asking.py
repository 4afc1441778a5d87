"""What augmentations through a model share: asking it, and texts that are longer than it takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from promptdetox.augment.context import Augmenting
from promptdetox.errors import ConfigError
from promptdetox.prompts.builder import PromptBuilder
from promptdetox.prompts.template import load_template
from promptdetox.segment import split_text
from promptdetox.types import Decoding, Generator, Prompt


def load_model(name: str, context: Augmenting) -> Generator:
    """Return the engine that finds synonyms and paraphrases.

    Args:
        name: The augmentation, for the message.
        context: Names the model.

    Raises:
        ConfigError: No model is named.
    """
    if context.model is None:
        raise ConfigError(
            f"--augment {name} asks a model and --augment-model names none: expected a model's "
            f"name, folder or file; give one, or leave {name} out."
        )
    return context.load_generator(context.model)


def builder_for(generator: Generator, template: str) -> PromptBuilder:
    """Return what builds prompts from a registered template, with a third left for the answer."""
    room = generator.max_length // 3
    return PromptBuilder.for_generator(load_template(template), generator, room=room)


def ask(generator: Generator, prompts: Sequence[Prompt], *, limit: int = 512) -> list[str | None]:
    """Return the greedy answer to each prompt; None where there is none, or it does not end.

    Args:
        generator: The engine.
        prompts: One user segment, the last one, holds what the answer is about as long as.
        limit: Upper bound of an answer's tokens.
    """
    room = generator.max_length // 3
    answers: list[str | None] = [None] * len(prompts)
    at = [
        index
        for index, prompt in enumerate(prompts)
        if generator.count_tokens(prompt) <= generator.max_length - room
    ]
    decoding = [
        Decoding(max_new_tokens=min(limit, room, 2 * _count_user(generator, prompts[index]) + 16))
        for index in at
    ]
    found = generator.generate([prompts[index] for index in at], decoding=decoding)
    for index, candidates in zip(at, found, strict=True):
        if candidates[0].is_finished and candidates[0].text:
            answers[index] = candidates[0].text
    return answers


def _count_user(generator: Generator, prompt: Prompt) -> int:
    last = [segment for segment in prompt.segments if segment.is_user][-1]
    return generator.count_tokens(Prompt((last,)))


def ask_in_parts(
    texts: Sequence[str],
    answer: Callable[[list[str]], list[str | None]],
    *,
    fits: Callable[[str], bool],
) -> list[str | None]:
    """Return the texts with each part answered, and the white space between parts kept.

    Args:
        texts: Any texts.
        answer: Parts -> their answers; all parts of all texts in one call.
        fits: Says whether a part fits the model.

    Returns:
        One a text; None where a part has no answer, or the words are those of the text.
    """
    split = [split_text(text, fits=fits) for text in texts]
    pieces = [
        text[part.start : part.end]
        for text, parts in zip(texts, split, strict=True)
        for part in parts
    ]
    answers = iter(answer(pieces))
    results: list[str | None] = []
    for text, parts in zip(texts, split, strict=True):
        chunks, at, is_whole = [], 0, True
        for part in parts:
            new = next(answers)
            chunks += [text[at : part.start], new or ""]
            at, is_whole = part.end, is_whole and new is not None
        joined = "".join([*chunks, text[at:]])
        results.append(joined if is_whole and _words(joined) != _words(text) else None)
    return results


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
