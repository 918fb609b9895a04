"""The native tokenizer gives what the `tokenizers` package gives."""

from __future__ import annotations

import itertools
import json
import runpy
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from pelton.bridge.word_piece import WordPiece, read_word_piece
from pelton.errors import InvalidInput
from python.text.strings import alphabet, hostile, sentences
from structure.sources import ROOT

TABLES = ROOT / "csrc" / "text"
SWITCHES = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
NORMALIZERS: list[dict[str, Any] | None] = [
    None,
    *(
        {"type": "BertNormalizer", **dict(zip(SWITCHES, values, strict=True))}
        for values in itertools.product((True, False), repeat=4)
    ),
    {**dict.fromkeys(SWITCHES, True), "type": "BertNormalizer", "strip_accents": None},
    {**dict.fromkeys(SWITCHES, False), "type": "BertNormalizer", "strip_accents": None},
]
SPECIAL_TOKENS = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}


def toy(**changes: Any) -> dict[str, Any]:
    """A tokenizer.json of the kind that the native tokenizer is for."""
    pieces = ["the", "##ing", "play", "##play", "token", "un", "##un", "a", "##a", "ab", "##ab"]
    vocab = {token: id_ for id_, token in enumerate([*SPECIAL_TOKENS, *pieces])}
    file = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added(content, id_) for content, id_ in SPECIAL_TOKENS.items()],
        "normalizer": NORMALIZERS[1],
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template("[CLS]", "A", "[SEP]"),
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }
    return {**file, **changes}


def added(content: str, id_: int, **changes: Any) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id_, "content": content, **flags, "special": True, **changes}


def template(*names: str) -> dict[str, Any]:
    pieces = [
        {"Sequence" if name == "A" else "SpecialToken": {"id": name, "type_id": 0}}
        for name in names
    ]
    special = {
        name: {"id": name, "ids": [SPECIAL_TOKENS[name]], "tokens": [name]}
        for name in names
        if name != "A"
    }
    pair = [*pieces, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": pieces, "pair": pair, "special_tokens": special}


def model(**changes: Any) -> dict[str, Any]:
    return {**toy()["model"], **changes}


def both(file: dict[str, Any] | bytes) -> tuple[Tokenizer, WordPiece]:
    tokenizer_json = file if isinstance(file, bytes) else json.dumps(file).encode()
    theirs = Tokenizer.from_buffer(tokenizer_json)
    theirs.no_padding()
    theirs.no_truncation()
    ours = read_word_piece(tokenizer_json)
    assert ours is not None
    assert ours.vocabulary_size == theirs.get_vocab_size(with_added_tokens=True)
    assert ours.special_count == theirs.num_special_tokens_to_add(is_pair=False)
    return theirs, ours


def assert_same(theirs: Tokenizer, ours: WordPiece, texts: list[str]) -> None:
    expected = [encoding.ids for encoding in theirs.encode_batch_fast(texts)]
    ids, lengths, uncut = ours.encode_batch(texts, 1 << 30)
    assert lengths.tolist() == uncut.tolist()
    flat = list(itertools.chain.from_iterable(expected))
    if lengths.tolist() == list(map(len, expected)) and ids.tolist() == flat:
        return
    ends = np.cumsum(lengths)
    for text, wanted, end, length in zip(texts, expected, ends, lengths, strict=True):
        got = ids[end - length : end].tolist()
        assert got == wanted, f"{text!r} ({text!a})"


def compare(minilm: Path, count: int, seed: int) -> int:
    """On `count` texts and more; how many."""
    compared = 0
    theirs, ours = both((minilm / "tokenizer.json").read_bytes())
    real = sentences()
    for begin in range(0, len(real), 5000):
        assert_same(theirs, ours, real[begin : begin + 5000])
        compared += len(real[begin : begin + 5000])
    made = hostile(max(0, count - compared), seed)
    theirs, _ = both(with_alphabet(NORMALIZERS[0]))
    for number, normalizer in enumerate(NORMALIZERS):
        theirs.normalizer = both(toy(normalizer=normalizer))[0].normalizer  # cheaper than a new one
        ours = read_word_piece(with_alphabet(normalizer))
        assert ours is not None
        share = (count - compared) // 2 // (len(NORMALIZERS) - number)
        while share > 0 and (texts := list(itertools.islice(made, min(share, 5000)))):
            assert_same(theirs, ours, texts)
            share -= len(texts)
            compared += len(texts)
    theirs, ours = both((minilm / "tokenizer.json").read_bytes())
    while texts := list(itertools.islice(made, 5000)):
        assert_same(theirs, ours, texts)
        compared += len(texts)
    return compared


def with_alphabet(normalizer: dict[str, Any] | None) -> bytes:
    """A tokenizer.json in whose vocabulary most words are known, character by character."""
    return _alphabet_json().replace(b'"its normalizer"', json.dumps(normalizer).encode())


@cache
def _alphabet_json() -> bytes:
    tokens = dict.fromkeys(toy()["model"]["vocab"])
    for character in alphabet():
        tokens.update({character: None, f"##{character}": None})
    vocab = {token: id_ for id_, token in enumerate(tokens)}
    changed = model(vocab=vocab, max_input_chars_per_word=50)
    return json.dumps(toy(normalizer="its normalizer", model=changed)).encode()


def test_it_is_equal_on_twenty_thousand_strings(minilm: Path, seed: int) -> None:
    assert compare(minilm, 20_000, seed) >= 20_000


@pytest.mark.slow
def test_it_is_equal_on_a_million_strings(minilm: Path, seed: int) -> None:
    assert compare(minilm, 1_000_000, seed + 1_000_000) >= 1_000_000


def test_every_code_point_alone_and_between_letters(minilm: Path) -> None:
    theirs, ours = both(with_alphabet(NORMALIZERS[1]))
    code_points = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    assert_same(
        theirs,
        ours,
        [f"a{'a'.join(code_points[i : i + 40])}a" for i in range(0, len(code_points), 40)],
    )


def test_the_tables_are_those_of_the_installed_package() -> None:
    made = runpy.run_path(str(TABLES / "make_unicode_tables.py"))["tables"]()
    assert made == (TABLES / "unicode_tables.inc").read_text(), (
        "run csrc/text/make_unicode_tables.py: this version of tokenizers differs"
    )


TEXTS = [
    "",
    "the playing token",
    "The  PLAYING[MASK]aab untoken",
    "  [SEP] [SEP][CLS]the[ MASK ]\u3000[mask]",
    "<new><new>a <NEW> a<new>b",
    "x" * 99 + " " + "a" * 100 + " " + "a" * 101,
    "é\u0301 ÉA 漢字 한국어",
]
VARIANTS = {
    "plain": {},
    "cased": {"normalizer": NORMALIZERS[2]},
    "no normalizer": {"normalizer": None},
    "lower case only": {"normalizer": {"type": "Lowercase"}},
    "no special tokens": {"post_processor": None},
    "only a suffix": {"post_processor": template("A", "[SEP]")},
    "two before and none behind": {"post_processor": template("[CLS]", "[MASK]", "A")},
    "bert": {
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    },
    "roberta": {
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["[SEP]", 3],
            "cls": ["[CLS]", 2],
            "trim_offsets": True,
            "add_prefix_space": False,
        }
    },
    "no added tokens": {"added_tokens": []},
    "tokens outside the vocabulary": {
        "added_tokens": [
            added("[MASK]", 4, lstrip=True),
            added("<new>", 16, special=False, rstrip=True),
            added("<new", 17),
        ]
    },
    "added tokens that overlap": {
        "added_tokens": [added("aa", 16), added("a<", 17), added("<n", 18)]
    },
    "short words": {"model": model(max_input_chars_per_word=3)},
    "another prefix": {"model": model(continuing_subword_prefix="p")},
    "no prefix": {"model": model(continuing_subword_prefix="")},
    "shuffled": {"model": model(vocab=dict(reversed(toy()["model"]["vocab"].items())))},
    "padding and truncation": {
        "truncation": {
            "direction": "Right",
            "max_length": 4,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": 9},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_it_takes_it_does_as_the_package_does(name: str, seed: int) -> None:
    theirs, ours = both(toy(**VARIANTS[name]))
    assert_same(theirs, ours, [*TEXTS, *hostile(300, seed)])


OTHERS = {
    "another model": {"model": model(type="BPE")},
    "no type": {"model": {name: value for name, value in model().items() if name != "type"}},
    "no unknown token": {"model": model(unk_token="<unk>")},
    "very long words": {"model": model(max_input_chars_per_word=1001)},
    "an id twice": {"model": model(vocab={"[UNK]": 0, "a": 1, "b": 1})},
    "a gap": {"model": model(vocab={"[UNK]": 0, "a": 2})},
    "ids that are none": {"model": model(vocab={"[UNK]": 0, "a": True})},
    "a surrogate": {"model": model(vocab={"[UNK]": 0, "\ud800": 1})},
    "a list": {"model": model(vocab=["[UNK]"])},
    "another normalizer": {"normalizer": {"type": "NFKC"}},
    "a switch that is none": {"normalizer": {**dict(NORMALIZERS[1] or {}), "lowercase": 1}},
    "another pre-tokenizer": {"pre_tokenizer": {"type": "Whitespace"}},
    "no pre-tokenizer": {"pre_tokenizer": None},
    "another post-processor": {"post_processor": {"type": "ByteLevel"}},
    "the text twice": {"post_processor": template("A", "[SEP]", "A")},
    "no text": {"post_processor": template("[CLS]")},
    "an unknown special token": {
        "post_processor": {**template("[CLS]", "A"), "special_tokens": {}},
    },
    "single words": {"added_tokens": [added("[MASK]", 4, single_word=True)]},
    "normalized": {"added_tokens": [added("[MASK]", 4, normalized=True)]},
    "white space": {"added_tokens": [added(" [MASK]", 16)]},
    "an empty token": {"added_tokens": [added("", 16)]},
    "a token twice": {"added_tokens": [added("[MASK]", 4), added("[MASK]", 4)]},
    "another number": {"added_tokens": [added("<new>", 77)]},
    "another version": {"version": "2.0"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_it_cannot_do_is_left_to_the_package(name: str) -> None:
    assert read_word_piece(json.dumps(toy(**OTHERS[name])).encode()) is None


@pytest.mark.parametrize("file", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_tokenizer_is_left_to_the_package(file: bytes) -> None:
    assert read_word_piece(file) is None


def test_long_texts_are_cut_as_the_package_cuts_them(minilm: Path) -> None:
    theirs, ours = both((minilm / "tokenizer.json").read_bytes())
    texts = ["", "unaffable", "the unaffable \U0001f642 tokens, unaffably " * 30]
    for tokens_max in (2, 3, 4, 5, 17, 256):
        ids, lengths, uncut = ours.encode_batch(texts, tokens_max)
        assert uncut.tolist() == [len(theirs.encode(text).ids) for text in texts]
        theirs.enable_truncation(tokens_max)
        expected = [theirs.encode(text).ids for text in texts]
        theirs.no_truncation()
        assert lengths.tolist() == list(map(len, expected))
        assert ids.tolist() == list(itertools.chain.from_iterable(expected))


def test_results_are_arrays_of_fixed_types() -> None:
    _, ours = both(toy())
    for texts in ([], ["the"], ["the " * 5000] * 3):
        ids, lengths, uncut = ours.encode_batch(texts, 100)
        assert (ids.dtype, lengths.dtype, uncut.dtype) == (np.int32, np.int32, np.int64)
        assert len(lengths) == len(uncut) == len(texts)
        assert len(ids) == lengths.sum()


def test_texts_that_cannot_be_encoded_are_refused() -> None:
    _, ours = both(toy())
    with pytest.raises(UnicodeEncodeError):
        ours.encode_batch(["the", "\ud800"], 100)
    with pytest.raises(TypeError):
        ours.encode_batch([b"the"], 100)  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match="expected at least 2, got 1"):
        ours.encode_batch(["the"], 1)


def test_threads_may_share_one(seed: int) -> None:
    _, ours = both(toy())
    texts = list(hostile(2000, seed))
    alone = ours.encode_batch(texts, 1000)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: ours.encode_batch(texts, 1000), range(12)):
            assert all(np.array_equal(a, b) for a, b in zip(got, alone, strict=True))
