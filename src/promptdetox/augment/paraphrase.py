"""The text in other words, through any model that continues prompts.

Source: Kumar et al. 2020, Data Augmentation using Pre-trained Transformer Models,
https://aclanthology.org/2020.lifelongnlp-1.3
"""

from __future__ import annotations

from collections.abc import Sequence

from promptdetox.augment.asking import ask, ask_in_parts, builder_for, load_model
from promptdetox.augment.context import Augmentation, Augmenting, keep_usable

TEMPLATE = "paraphrase-plain.v1"


def paraphrase(texts: Sequence[str], context: Augmenting) -> list[str | None]:
    """Return the texts in a model's words, greedily: the seed changes nothing.

    Args:
        texts: Whole texts; a long one is paraphrased in parts.
        context: Names the model.

    Returns:
        One a text; None where the model gave no usable answer. Shape: (texts,).

    Raises:
        ConfigError: No model is named.
        ModelError: It cannot be loaded.
    """
    generator = load_model("paraphrase", context)
    builder = builder_for(generator, TEMPLATE)
    changed = ask_in_parts(
        texts,
        lambda parts: ask(generator, [builder.build(part) for part in parts]),
        fits=builder.fits,
    )
    return keep_usable(texts, changed, context)


AUGMENTATION = Augmentation("paraphrase", paraphrase, is_local=False)
