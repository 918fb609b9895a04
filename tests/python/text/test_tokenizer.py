from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pelton.bridge.word_piece import read_word_piece
from pelton.errors import CorruptPlan, InvalidInput, PayloadTooLarge
from pelton.text import TextTokenizer

CLS, SEP, PAD = 101, 102, 0


@pytest.fixture(scope="module")
def json_bytes(minilm: Path) -> bytes:
    return (minilm / "tokenizer.json").read_bytes()


@pytest.fixture(scope="module", params=["package", "native"])
def tokenizer(json_bytes: bytes, request: pytest.FixtureRequest) -> TextTokenizer:
    return made(json_bytes, native=request.param == "native")


def made(json_bytes: bytes, *, native: bool, tokens_max: int = 256) -> TextTokenizer:
    encoder = read_word_piece(json_bytes) if native else None
    assert (encoder is not None) == native
    return TextTokenizer(json_bytes, tokens_max=tokens_max, text_bytes_max=2048, native=encoder)


def words(token_count: int) -> str:
    """A text of so many tokens, its two special ones included."""
    return " ".join(["a"] * (token_count - 2))


def test_the_tokenizers_own_padding_and_truncation_are_off(tokenizer: TextTokenizer) -> None:
    tokens = tokenizer.encode(["hello world", words(200)])
    assert tokens.lengths.tolist() == [4, 200]
    assert tokens.ids[:4].tolist() == [CLS, 7592, 2088, SEP]
    assert PAD not in tokens.ids
    assert tokens.token_count == len(tokens.ids) == 204
    assert tokens.ids.dtype == tokens.lengths.dtype == np.int32


@pytest.mark.parametrize("count", [2, 3, 255, 256])
def test_texts_up_to_the_limit_are_taken_whole(count: int, tokenizer: TextTokenizer) -> None:
    tokens = tokenizer.encode([words(count)])
    assert (tokens.lengths.tolist(), tokens.truncated) == ([count], 0)


def test_a_text_over_the_limit_is_refused_with_both_lengths(tokenizer: TextTokenizer) -> None:
    with pytest.raises(InvalidInput) as caught:
        tokenizer.encode(["short", words(257)])
    assert caught.value.details == {
        "tensor": "text",
        "field": "text[1]",
        "expected": "at most 256 tokens",
        "got": "257 tokens",
    }


@pytest.mark.parametrize("count", [257, 258, 700])
def test_a_text_over_the_limit_is_cut_where_that_is_asked_for(
    count: int, tokenizer: TextTokenizer
) -> None:
    tokens = tokenizer.encode(["x", words(count), "y"], truncate=True)
    assert tokens.lengths.tolist() == [3, 256, 3]
    assert tokens.truncated == 1
    cut = tokens.ids[3:259]
    assert (cut[0], cut[-1]) == (CLS, SEP)
    assert (cut[1:-1] == cut[1]).all()


def test_a_batch_gives_what_each_text_gives_alone(tokenizer: TextTokenizer) -> None:
    texts = ["", "héllo wörld", "日本語 text", "a " * 20, "🙂"]
    together = tokenizer.encode(texts)
    alone = [tokenizer.encode([text]) for text in texts]
    assert together.lengths.tolist() == [int(one.lengths[0]) for one in alone]
    assert together.ids.tolist() == [token for one in alone for token in one.ids.tolist()]


def test_an_empty_text_is_its_special_tokens(tokenizer: TextTokenizer) -> None:
    assert tokenizer.encode([""]).ids.tolist() == [CLS, SEP]


def test_no_texts_give_no_tokens(tokenizer: TextTokenizer) -> None:
    tokens = tokenizer.encode([])
    assert (tokens.token_count, len(tokens.lengths)) == (0, 0)


def test_bytes_and_strings_are_the_same(tokenizer: TextTokenizer) -> None:
    assert tokenizer.check(["é", "é".encode()]) == ["é", "é"]


@pytest.mark.parametrize(
    ("text", "kind", "got"),
    [
        (b"ab\xff", InvalidInput, "an invalid sequence at byte 2"),
        (b"\xed\xa0\x80", InvalidInput, "an invalid sequence at byte 0"),
        (b"\xc0\x80", InvalidInput, "an invalid sequence at byte 0"),
        ("a\ud800", InvalidInput, "an invalid sequence at character 1"),
        ("a\0b", InvalidInput, "NUL at character 1"),
        (b"\0", InvalidInput, "NUL at character 0"),
        ("x" * 2049, PayloadTooLarge, "2049 bytes or more"),
        (b"x" * 2049, PayloadTooLarge, "2049 bytes or more"),
        ("é" * 1025, PayloadTooLarge, "2050 bytes or more"),
        (7, InvalidInput, "int"),
        (None, InvalidInput, "NoneType"),
    ],
)
def test_a_bad_text_is_named(text, kind, got: str, tokenizer: TextTokenizer) -> None:
    with pytest.raises(kind) as caught:
        tokenizer.check(["fine", text], "text")
    assert caught.value.details["field"] == "text[1]"
    assert caught.value.details["tensor"] == "text"
    assert caught.value.details["got"] == got


@pytest.mark.parametrize("text", ["x" * 2048, "é" * 1024])
def test_a_text_of_exactly_the_byte_limit_is_taken(text: str, tokenizer: TextTokenizer) -> None:
    assert tokenizer.check([text]) == [text]


def test_an_unreadable_tokenizer_is_a_corrupt_plan() -> None:
    with pytest.raises(CorruptPlan, match="the tokenizer cannot be read"):
        TextTokenizer(b"{}", tokens_max=256, text_bytes_max=10)


@pytest.mark.parametrize("native", [False, True])
def test_a_limit_without_room_for_text_is_a_corrupt_plan(native: bool, json_bytes: bytes) -> None:
    with pytest.raises(CorruptPlan, match="2 special tokens"):
        made(json_bytes, native=native, tokens_max=2)


def test_the_package_and_the_native_tokenizer_say_the_same(json_bytes: bytes) -> None:
    package, native = (made(json_bytes, native=native) for native in (False, True))
    assert package.vocabulary_size == native.vocabulary_size == 30522
    texts = ["short", words(300), words(257), words(256)]
    ours, theirs = (t.encode(texts, truncate=True) for t in (package, native))
    assert ours.ids.tolist() == theirs.ids.tolist()
    assert ours.lengths.tolist() == theirs.lengths.tolist()
    assert ours.truncated == theirs.truncated == 2
    errors = []
    for tokenizer in (package, native):
        with pytest.raises(InvalidInput) as caught:
            tokenizer.encode(texts)
        errors.append((str(caught.value), caught.value.details))
    assert errors[0] == errors[1]
    assert "expected at most 256 tokens, got 300 (rows over the limit: 1, 2)" in errors[0][0]


def test_only_short_texts_of_the_native_tokenizer_are_quick(json_bytes: bytes) -> None:
    package, native = (made(json_bytes, native=native) for native in (False, True))
    assert native.is_quick(["a" * 4000, "b" * 96])
    assert not native.is_quick(["a" * 4000, "b" * 97])
    assert not package.is_quick(["a"])
