"""The sentences are real, seeded and of mixed length; work is counted without padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bench.engine.workload import (
    EncoderShape,
    batches_of,
    sentences,
    tokenize,
    uniform_batch,
)


def test_sentences_are_chosen_by_the_seed(minilm: Path) -> None:
    rows = sentences(minilm, 256, seed=1)
    assert rows == sentences(minilm, 256, seed=1)
    assert rows != sentences(minilm, 256, seed=2)
    lengths = [len(row) for row in rows]
    assert len(rows) == 256
    assert min(lengths) >= 6
    assert max(lengths) <= 128
    assert max(lengths) > 2 * np.mean(lengths)
    assert len({tuple(row) for row in rows}) > 250


def test_the_tokenizer_neither_pads_nor_cuts(minilm: Path) -> None:
    short, long = tokenize(minilm, ["hello world", "word " * 300])
    assert (len(short), len(long)) == (4, 302)


def test_batches_hold_the_rows_padded_and_not() -> None:
    first, second = batches_of([[5, 6, 7], [8], [9, 10]], 2)
    assert first.ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert first.mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert first.flat.tolist() == [5, 6, 7, 8]
    assert first.lengths.tolist() == [3, 1]
    assert (first.tokens, second.tokens, second.rows) == (4, 2, 1)


def test_a_uniform_batch_has_no_padding() -> None:
    batch = uniform_batch(3, 5, seed=1)
    assert batch.ids.shape == (3, 5)
    assert batch.tokens == 15
    assert batch.mask.all()


def test_multiply_adds_are_those_of_the_products() -> None:
    shape = EncoderShape(layers=2, hidden=8, inner=32, heads=2)
    gemms = 3 * (4 * 8 * 8 + 2 * 8 * 32)  # of three tokens
    attention = 2 * 3 * 3 * 8  # scores, and their sum over values
    assert shape.multiply_adds([3]) == 2 * (gemms + attention)
    assert shape.multiply_adds([3, 3]) == 2 * shape.multiply_adds([3])
