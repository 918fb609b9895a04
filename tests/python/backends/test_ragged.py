from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pelton.backends._ragged import check_ids, check_lengths, lengths_of, take_tokens
from pelton.backends._requests import Prepared, cut_rows
from pelton.errors import InvalidInput


@given(lengths=st.lists(st.integers(1, 9), max_size=8), spare=st.integers(0, 3))
def test_padding_is_taken_out(lengths: list[int], spare: int) -> None:
    width = max(lengths, default=0) + spare
    rows = [list(range(10 * row, 10 * row + length)) for row, length in enumerate(lengths)]
    ids = np.full((len(lengths), width), -1, np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    found = lengths_of(ids, mask)
    assert found.tolist() == lengths
    assert take_tokens(ids, found).tolist() == [token for row in rows for token in row]


def test_full_rows_are_a_view() -> None:
    ids = np.arange(6).reshape(2, 3)
    assert np.shares_memory(take_tokens(ids, lengths_of(ids, None)), ids)


@pytest.mark.parametrize(
    ("mask", "expected", "got"),
    [
        ([[1, 2]], "0 or 1", "2 at [0, 1]"),
        ([[1, -1]], "0 or 1", "-1 at [0, 1]"),
        ([[1, 1], [0, 1]], "the ones of a row before its zeros (padding on the right)", "[1, 1]"),
        ([[1, 1, 1]], "shape [1, 2]", "[1, 3]"),
    ],
)
def test_a_bad_mask_is_named(mask, expected: str, got: str) -> None:
    mask = np.array(mask)
    ids = np.zeros((len(mask), 2), np.int64)
    with pytest.raises(InvalidInput) as caught:
        lengths_of(ids, mask)
    details = caught.value.details
    assert (details["tensor"], details["expected"]) == ("attention_mask", expected)
    assert details["got"].endswith(got)


@pytest.mark.parametrize(
    ("lengths", "words"),
    [([1, 0], "none in row 1"), ([4, 3, 6], "6 in row 2"), ([0], "none in row 0")],
)
def test_a_row_without_tokens_or_with_too_many_is_named(lengths, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        check_lengths(np.array(lengths, np.int32), 5, "input_ids")


def test_rows_of_one_token_and_of_all_positions_are_taken() -> None:
    check_lengths(np.array([1, 5], np.int32), 5, "input_ids")
    check_lengths(np.array([], np.int32), 5, "input_ids")


@pytest.mark.parametrize(
    ("ids", "got"),
    [
        ([0, 1, 9, 3], "9 at [1, 0]"),
        ([0, -1, 2, 3], "-1 at [0, 1]"),
        ([0, 1, 2, 2**40], f"{2**40} at [1, 1]"),
        ([-(2**63), 1, 2, 3], f"{-(2**63)} at [0, 0]"),
    ],
)
def test_an_id_out_of_range_is_named_with_its_place(ids: list[int], got: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_ids(np.array(ids), np.array([2, 2], np.int32), 9, "input_ids")
    assert caught.value.details["got"] == got
    assert caught.value.details["expected"] == "ids from 0 to 8"


def test_ids_in_range_become_int32() -> None:
    taken = check_ids(np.array([0, 8]), np.array([2], np.int32), 9, "input_ids")
    assert taken.dtype == np.int32
    already = np.array([0, 8], np.int32)
    assert check_ids(already, np.array([2], np.int32), 9, "input_ids") is already


@given(
    lengths=st.lists(st.integers(1, 20), max_size=40),
    rows_max=st.integers(1, 10),
    tokens_max=st.integers(1, 30),
)
def test_pieces_cover_a_ragged_request_and_fill_batches(lengths, rows_max, tokens_max) -> None:
    prepared = Prepared(arrays=[], rows=len(lengths), lengths=np.array(lengths, np.int32))
    pieces = list(cut_rows(prepared, rows_max, tokens_max))
    assert [row for rows, _ in pieces for row in range(rows.start, rows.stop)] == [
        *range(len(lengths))
    ]
    for index, (rows, tokens) in enumerate(pieces):
        size = sum(lengths[rows])
        assert tokens.stop - tokens.start == size
        assert rows.stop - rows.start <= rows_max
        assert size <= tokens_max or rows.stop - rows.start == 1
        if index + 1 < len(pieces):  # the next row would not have fitted
            full = rows.stop - rows.start == rows_max
            assert full or size + lengths[rows.stop] > tokens_max


@given(rows=st.integers(0, 40), rows_max=st.integers(1, 10))
def test_pieces_cover_a_dense_request(rows: int, rows_max: int) -> None:
    pieces = list(cut_rows(Prepared(arrays=[], rows=rows), rows_max, 1))
    assert [r for piece, _ in pieces for r in range(piece.start, piece.stop)] == [*range(rows)]
    assert all(piece.stop - piece.start <= rows_max for piece, _ in pieces)
    assert all(rows == tokens for rows, tokens in pieces)
