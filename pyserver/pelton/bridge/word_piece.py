"""The native tokenizer of BERT-family encoders, made from a tokenizer.json.

It stands in for the `tokenizers` package where it gives the same ids; what it cannot reproduce is
left to that package.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pelton import _native
from pelton.bridge._status import native_errors

__all__ = ["WordPiece", "read_word_piece"]

_WORD_CHARS_MAX: Final = 1000  # csrc/text/word_piece.h
_ID_END: Final = 2**31
_SWITCHES: Final = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")


class _Added(NamedTuple):
    content: str
    id: int


class WordPiece:
    """Texts to token ids, special tokens included. Immutable; thread-safe.

    `native` is what other bindings take; `special_count` the ids that every text gets;
    `vocabulary_size` counts added tokens too.
    """

    def __init__(self, native: _native.WordPiece) -> None:
        self.native = native
        self.special_count = native.special_count
        self.vocabulary_size = native.vocabulary_size

    def encode_batch(
        self, texts: Sequence[str], tokens_max: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Ids of all texts one after the other, ids of each, and what each had uncut: a text of
        more than `tokens_max` is cut to that, its special tokens kept. Releases the GIL for texts
        that take long. Raises `UnicodeEncodeError` for a text with a lone surrogate."""
        with native_errors():
            return self.native.encode_batch(texts, tokens_max)


class _OtherKind(Exception):
    """The file asks for something that the native tokenizer does not do."""


def read_word_piece(tokenizer_json: bytes) -> WordPiece | None:
    """The native tokenizer that gives the same ids as the `tokenizers` package with this file, its
    padding and truncation switched off; None where there is no such one, or the file is bad."""
    try:
        options = _options(json.loads(tokenizer_json))
    except (_OtherKind, ValueError, RecursionError):
        return None
    return WordPiece(_native.WordPiece(**options))


def _options(file: Any) -> dict[str, Any]:
    _require(isinstance(file, dict) and file.get("version") == "1.0")
    _require(file.get("pre_tokenizer") == {"type": "BertPreTokenizer"})
    model = _section(file.get("model"), "WordPiece")
    vocabulary = _vocabulary(model.get("vocab"))
    unknown = _text(model.get("unk_token"))
    _require(unknown in model["vocab"])
    word_chars_max = model.get("max_input_chars_per_word")
    _require(type(word_chars_max) is int and 1 <= word_chars_max <= _WORD_CHARS_MAX)
    prefix, suffix = _template(file.get("post_processor"))
    return {
        "vocabulary": vocabulary,
        "unknown_token": unknown,
        "continuing_prefix": _text(model.get("continuing_subword_prefix")),
        "word_chars_max": word_chars_max,
        "added_tokens": _added_tokens(file.get("added_tokens", []), model["vocab"]),
        "prefix": prefix,
        "suffix": suffix,
        **_switches(file.get("normalizer")),
    }


def _require(held: bool) -> None:
    if not held:
        raise _OtherKind


def _section(value: Any, kind: str) -> dict[str, Any]:
    _require(isinstance(value, dict) and value.get("type") == kind)
    section: dict[str, Any] = value
    return section


def _text(value: Any) -> str:
    """A string; one that cannot be UTF-8 (a lone surrogate) is a ValueError."""
    if not isinstance(value, str):
        raise _OtherKind
    value.encode()
    return value


def _id(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _ID_END:
        raise _OtherKind
    return value


def _vocabulary(vocab: Any) -> list[str]:
    """The tokens by id, where the ids are 0, 1, … without a gap."""
    if not isinstance(vocab, dict):
        raise _OtherKind
    tokens, ids = list(vocab), list(vocab.values())
    if ids != list(range(len(ids))):
        _require(all(type(value) is int for value in ids))
        tokens.sort(key=vocab.__getitem__)
        _require(sorted(ids) == list(range(len(ids))))
    "".join(tokens).encode()  # a lone surrogate is a ValueError
    return tokens


def _switches(normalizer: Any) -> dict[str, bool]:
    if normalizer is None:
        return dict.fromkeys(_SWITCHES, False)
    if normalizer == {"type": "Lowercase"}:
        return {**dict.fromkeys(_SWITCHES, False), "lowercase": True}
    section = dict(_section(normalizer, "BertNormalizer"))
    if section.get("strip_accents") is None:
        section["strip_accents"] = section.get("lowercase")
    _require(all(isinstance(section.get(name), bool) for name in _SWITCHES))
    return {name: section[name] for name in _SWITCHES}


def _added_tokens(tokens: Any, vocab: dict[str, int]) -> list[_Added]:
    """Those that are cut out of the raw text wherever they stand. White space that a token takes
    along (`lstrip`, `rstrip`) makes no token anyway."""
    _require(isinstance(tokens, list))
    found: dict[str, int] = {}
    for token in tokens:
        _require(isinstance(token, dict))
        content = _text(token.get("content"))
        _require(content.strip() == content != "" and content not in found)
        _require(token.get("single_word") is False and token.get("normalized") is False)
        # The package numbers those outside the vocabulary itself, whatever the file says.
        id_ = _id(token.get("id"))
        others = [other for other in found.values() if other >= len(vocab)]
        _require(id_ == vocab.get(content, len(vocab) + len(others)))
        found[content] = id_
    return [_Added(content, id_) for content, id_ in found.items()]


def _template(post_processor: Any) -> tuple[list[int], list[int]]:
    """The ids before and behind one text."""
    if post_processor is None:
        return [], []
    _require(isinstance(post_processor, dict))
    kind = post_processor.get("type")
    if kind in ("BertProcessing", "RobertaProcessing"):
        return [_pair_id(post_processor.get("cls"))], [_pair_id(post_processor.get("sep"))]
    _require(kind == "TemplateProcessing")
    special, pieces = post_processor.get("special_tokens"), post_processor.get("single")
    _require(isinstance(special, dict) and isinstance(pieces, list))
    before: list[int] = []
    behind: list[int] | None = None
    for piece in pieces:
        _require(isinstance(piece, dict) and len(piece) == 1)
        ((name, content),) = piece.items()
        _require(isinstance(content, dict))
        if name == "Sequence":
            _require(content.get("id") == "A" and behind is None)
            behind = []
        else:
            token = special.get(_text(content.get("id")))
            _require(name == "SpecialToken" and isinstance(token, dict))
            ids = token.get("ids")
            _require(isinstance(ids, list))
            (before if behind is None else behind).extend(map(_id, ids))
    if behind is None:
        raise _OtherKind
    return before, behind


def _pair_id(pair: Any) -> int:
    """The id of a ["[SEP]", 102]."""
    _require(isinstance(pair, list) and len(pair) == 2)
    return _id(pair[1])
