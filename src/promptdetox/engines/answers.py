"""What all engines do to a generated answer."""

from __future__ import annotations

from collections.abc import Sequence


def cut_answer(text: str, stop: Sequence[str]) -> str:
    """Return the answer up to the first stop string, surrounding white space removed.

    A stop string at the very beginning ends nothing: models like to start with a line break.
    """
    text = text.strip()
    cuts = [at for string in stop if (at := text.find(string)) > 0]
    return text[: min(cuts)].strip() if cuts else text
