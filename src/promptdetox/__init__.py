"""Detoxify text with prompted language models.

>>> from promptdetox import Detoxifier
>>> detoxifier = Detoxifier.from_pretrained()
>>> [rewrite.status for rewrite in detoxifier.detox(["Have a nice day."])]
['clean']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from promptdetox.detect import Detector
    from promptdetox.errors import PromptDetoxError
    from promptdetox.rewrite import Detoxifier
    from promptdetox.types import Detection, Rewrite, Span, WordEdit

_EXPORTS = {
    "Detection": "promptdetox.types",
    "Detector": "promptdetox.detect",
    "Detoxifier": "promptdetox.rewrite",
    "PromptDetoxError": "promptdetox.errors",
    "Rewrite": "promptdetox.types",
    "Span": "promptdetox.types",
    "WordEdit": "promptdetox.types",
}

__all__ = [
    "Detection",
    "Detector",
    "Detoxifier",
    "PromptDetoxError",
    "Rewrite",
    "Span",
    "WordEdit",
]


def __getattr__(name: str) -> Any:
    # Importing the package must stay under 0.2 s: each name is imported when first used.
    if name in _EXPORTS:
        import importlib

        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
