"""Prompts -> token ids, so that user text can never become a control token."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from threading import Lock

from tokenizers import Tokenizer

from promptdetox.types import Prompt, Segment


class PromptTokenizer:
    """Tokenises prompts segment by segment.

    A template's text may hold control tokens; in user text they are read as ordinary characters,
    so ``<|im_end|>`` in a comment is seven ordinary tokens.
    """

    def __init__(self, tokenizer_json: str, *, bos_token: str | None = None) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        added = self._tokenizer.get_added_tokens_decoder()
        self._special_ids = set(added)
        if not all(token.special for token in added.values()):
            # `encode_special_tokens` covers special tokens only: make every added token one.
            definition = json.loads(tokenizer_json)
            for token in definition["added_tokens"]:
                token["special"] = True
            self._tokenizer = Tokenizer.from_str(json.dumps(definition))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._prefix = self._find_prefix(bos_token)
        self._lock = Lock()
        self._tokenizer.encode_special_tokens = True  # as ordinary text, that is
        self._encode_template = lru_cache(maxsize=4096)(self._encode_template_uncached)

    def _find_prefix(self, bos_token: str | None) -> list[int]:
        """Return what the tokenizer itself puts before a plain text (Llama 2: the BOS token)."""
        bos = self._tokenizer.token_to_id(bos_token) if bos_token else None
        ids = self._tokenizer.encode("", add_special_tokens=True).ids
        return [bos] if bos is not None and ids[:1] == [bos] else []

    def encode(self, prompt: Prompt) -> list[int]:
        """Return the token ids of a prompt."""
        static, rest = self.encode_split(prompt)
        return [*static, *rest]

    def encode_split(self, prompt: Prompt) -> tuple[tuple[int, ...], list[int]]:
        """Return the ids of the static prefix and those of the rest."""
        segments, n_static = _move_spaces(prompt)
        prefix = [] if prompt.is_chat else self._prefix
        static = (*prefix, *self._encode_all(segments[:n_static]))
        return static, self._encode_all(segments[n_static:])

    def _encode_all(self, segments: Iterable[Segment]) -> list[int]:
        ids: list[int] = []
        for segment in segments:
            if segment.is_user:
                ids += self.encode_user(segment.text)
            else:
                ids += self._encode_template(segment.text)
        return ids

    def _encode_template_uncached(self, text: str) -> tuple[int, ...]:
        # One tokenizer serves both: loading a second takes 0.1 s of a start-up of 1.5 s.
        with self._lock:
            self._tokenizer.encode_special_tokens = False
            try:
                return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
            finally:
                self._tokenizer.encode_special_tokens = True

    def encode_user(self, text: str) -> list[int]:
        """Return the ids of text from outside; none is a control token.

        A lone surrogate, which UTF-8 cannot hold, is read as a question mark.
        """
        if not _is_utf8(text):
            text = text.encode("utf-8", "replace").decode("utf-8")
        with self._lock:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        if self._special_ids.isdisjoint(ids):
            return ids
        # A unigram vocabulary may hold a control token as a word: drop it.
        return [i for i in ids if i not in self._special_ids]

    def encode_text(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the ids of a text in the tokenizer's own frame, as masked encoders read it.

        Args:
            text: From outside; none of its characters becomes a control token.

        Returns:
            Ids (``[CLS]`` … ``[SEP]``), and for each the (start, end) of its code points; empty
            for a control token.
        """
        (found,) = self.encode_texts([text])
        return found

    def encode_texts(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Return what `encode_text` returns for each of several texts; uses all cores."""
        safe = [t.encode("utf-8", "replace").decode("utf-8") for t in texts]
        with self._lock:
            found = self._tokenizer.encode_batch(safe)
        return [(each.ids, each.offsets) for each in found]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of generated ids, control tokens left out."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """Return the vocabulary's tokens of ids."""
        return [self._tokenizer.id_to_token(index) or "" for index in ids]

    def ids_of(self, tokens: Iterable[str]) -> set[int]:
        """Return the ids of those tokens that the vocabulary has."""
        found = {self._tokenizer.token_to_id(token) for token in tokens}
        return {index for index in found if index is not None}

    def tokens_starting_with(self, text: str) -> list[str]:
        """Return the vocabulary's tokens whose text begins with the given one."""
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        return [
            token
            for token, index in sorted(vocabulary.items(), key=lambda item: item[1])
            if self._tokenizer.decode([index]).startswith(text)
        ]


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _move_spaces(prompt: Prompt) -> tuple[list[Segment], int]:
    """Move a space at the end of template text to the user text behind it.

    Vocabularies hold words with the space in front: ``Toxic:`` + `` you`` is what models have
    seen; ``Toxic: `` + ``you`` is not.
    """
    segments = list(prompt.segments)
    for index in range(len(segments) - 1):
        here, following = segments[index], segments[index + 1]
        if not here.is_user and following.is_user and here.text.endswith(" "):
            segments[index] = Segment(here.text[:-1])
            segments[index + 1] = Segment(f" {following.text}", is_user=True)
    return segments, prompt.n_static
