"""What the engines are given: real sentences of mixed length, and batches of one length."""

from __future__ import annotations

import json
import pydoc_data.topics
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

__all__ = [
    "Batch",
    "EncoderShape",
    "batches_of",
    "sentence_texts",
    "sentences",
    "tokenize",
    "uniform_batch",
]

TOKENS_MIN: Final = 6
TOKENS_MAX: Final = 128
_PARAGRAPH: Final = re.compile(r"\n\s*\n")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
_SENTENCE: Final = re.compile(r"[A-Z\"'(].* .*[.!?][\"')]?")

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Token ids of some rows: padded [rows, width] with a mask, for engines that pad, and without
    padding [tokens] with lengths, for those that do not."""

    ids: Ids
    mask: Ids
    flat: Ids
    lengths: Ids

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Those of the sentences: padding is no work that anybody asked for."""
        return len(self.flat)


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """The sizes of a BERT that decide its work."""

    layers: int
    hidden: int
    inner: int
    heads: int

    @classmethod
    def of(cls, folder: Path) -> EncoderShape:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        return cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            inner=config["intermediate_size"],
            heads=config["num_attention_heads"],
        )

    def multiply_adds(self, lengths: Iterable[int]) -> int:
        """Those of the matrix products, of rows of these lengths."""
        gemm = 4 * self.hidden**2 + 2 * self.hidden * self.inner
        each = (int(n) * gemm + 2 * int(n) ** 2 * self.hidden for n in lengths)
        return self.layers * sum(each)


def _all_sentences() -> list[str]:
    """Every sentence of the documentation topics that Python carries, once, sorted."""
    found = set()
    for text in pydoc_data.topics.topics.values():
        for paragraph in _PARAGRAPH.split(text):
            for sentence in _SENTENCE_END.split(" ".join(paragraph.split())):
                if _SENTENCE.fullmatch(sentence):
                    found.add(sentence)
    return sorted(found)


def tokenize(folder: Path, texts: Sequence[str]) -> list[list[int]]:
    """Token ids with the special ones, neither padded nor cut, whatever tokenizer.json says."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def sentences(folder: Path, count: int, seed: int) -> list[list[int]]:
    """Token ids of `count` different sentences of 6 to 128 tokens, chosen at random, in random
    order."""
    return [row for _, row in sentence_texts(folder, count, seed)]


def sentence_texts(folder: Path, count: int, seed: int) -> list[tuple[str, list[int]]]:
    """The same sentences as texts, each with its token ids."""
    texts = _all_sentences()
    rows = tokenize(folder, texts)
    fitting = [
        (text, row)
        for text, row in zip(texts, rows, strict=True)
        if TOKENS_MIN <= len(row) <= TOKENS_MAX
    ]
    return random.Random(seed).sample(fitting, count)


def _batch(rows: Sequence[Sequence[int]]) -> Batch:
    lengths = np.array([len(row) for row in rows], np.int32)
    ids = np.zeros((len(rows), lengths.max()), np.int32)
    for padded, row in zip(ids, rows, strict=True):
        padded[: len(row)] = row
    mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int32)
    flat = np.concatenate([np.array(row, np.int32) for row in rows])
    return Batch(ids=ids, mask=mask, flat=flat, lengths=lengths)


def batches_of(rows: Sequence[Sequence[int]], batch_rows: int) -> list[Batch]:
    """The rows in their order, `batch_rows` at a time."""
    return [_batch(rows[i : i + batch_rows]) for i in range(0, len(rows), batch_rows)]


def uniform_batch(rows: int, width: int, seed: int) -> Batch:
    """Random tokens (of the English words of BERT's vocabulary), no padding at all."""
    ids = np.random.default_rng(seed).integers(2000, 29_000, (rows, width))
    return _batch(ids.tolist())
