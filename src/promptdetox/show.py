"""What was found, for people to look at in a terminal: the words in colour, scores and reasons."""

from __future__ import annotations

import unicodedata
from io import TextIOWrapper
from typing import TYPE_CHECKING, TextIO

from promptdetox.apply import Job, pair_records, read_job
from promptdetox.config import DetectConfig
from promptdetox.detect import Detector
from promptdetox.types import Detection

if TYPE_CHECKING:
    from rich.text import Text

_MUCH, _SOME = 0.8, 0.5


def show_job(job: Job, config: DetectConfig, out: TextIO) -> None:
    """Print what is toxic in a whole input.

    Colours are left out where there is no terminal, or ``NO_COLOR`` is set; the spans then stand in
    brackets.

    Raises:
        PromptDetoxError: Anything wrong with input, detector or settings.
    """
    from rich.console import Console

    if isinstance(out, TextIOWrapper):
        out.reconfigure(encoding="utf-8", errors="replace")
    console = Console(file=out, highlight=False, soft_wrap=True)
    is_plain = console.color_system is None
    detector = Detector.from_config(config)
    for _, found in pair_records(detector, read_job(job)):
        shown = render_detection(found, is_plain=is_plain)
        if is_plain:  # rich ends the program where a pipe is closed, with an exit code of its own
            out.write(shown.plain + "\n")
        else:
            console.print(shown)


def render_detection(found: Detection, *, is_plain: bool = False) -> Text:
    """Return a text with its toxic words marked, the decision, the scores and the reasons.

    Args:
        found: Of one text; its characters are shown as they are, but those that cannot be seen,
            control characters among them, are spelt out: ``<U+200B>``.
        is_plain: Put the spans in brackets.
    """
    from rich.text import Text

    decisions = [name for name in ("toxic", "hateful") if getattr(found, name)] or ["clean"]
    view = Text()
    view.append(" and ".join(decisions), "green" if found.is_clean else "bold red")
    for name, score in sorted(found.scores.items(), key=lambda item: -item[1]):
        if score >= 0.05:
            view.append(f"  {name.replace('_', ' ')} ", "dim")
            view.append(f"{score:.2f}", _style(score))
    view.append("\n  ")
    at = 0
    for span in found.spans:
        view.append(_visible(found.text[at : span.start]))
        word = _visible(found.text[span.start : span.end])
        view.append(f"[{word}]" if is_plain else word, f"{_style(span.score)} underline")
        at = span.end
    view.append(_visible(found.text[at:]))
    for span in found.spans:
        word = _visible(found.text[span.start : span.end]).replace("\n", " ")
        view.append(f"\n    {word}", _style(span.score))
        view.append(f"  {span.score:.2f}  {_visible(span.reason)}", "dim")
    return view


def _style(score: float) -> str:
    return "bold red" if score >= _MUCH else "yellow" if score >= _SOME else "dim"


def _visible(text: str) -> str:
    """Return a text that shows what is in it, and cannot steer the terminal."""
    return "".join(
        f"<U+{ord(char):04X}>"
        if char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn")
        else char
        for char in text
    )
