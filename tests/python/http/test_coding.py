from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from pelton.errors import InvalidInput, PayloadTooLarge, UnsupportedMediaType
from pelton.http import _coding
from pelton.http._coding import (
    CodingLimits,
    Decompressor,
    accepted_coding,
    compress,
    known_codings,
    request_coding,
)

zstd = pytest.importorskip("backports.zstd")
LIMITS = CodingLimits(64 << 20)
TEXT = b"".join(b"%d," % (n * n) for n in range(60_000))


def raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-15)
    return encoder.compress(data) + encoder.flush()


ENCODERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstd.compress),
]
FORMS = pytest.mark.parametrize(
    ("coding", "encode"), ENCODERS, ids=["gzip", "zlib", "raw deflate", "zstd"]
)


def decompress(coding, data: bytes, limits: CodingLimits = LIMITS, step: int | None = None):
    decompressor = Decompressor(coding, data, limits)
    while not decompressor.run(step):
        pass
    return bytes(decompressor.body)


@FORMS
@pytest.mark.parametrize("step", [None, 1, 65536, 1 << 20])
@pytest.mark.parametrize("data", [b"", b"a", TEXT, bytes(1 << 18), bytes((1 << 18) + 1)])
def test_there_and_back(coding, encode, data: bytes, step: int | None) -> None:
    assert decompress(coding, encode(data), step=step) == data


@FORMS
def test_a_step_does_little_more_than_was_asked(coding, encode) -> None:
    decompressor = Decompressor(coding, encode(TEXT), LIMITS)
    assert not decompressor.run(1000)
    assert len(decompressor.body) <= 1000 + (64 << 10)
    assert decompressor.run()


@FORMS
@pytest.mark.parametrize("size", [0, 1, 2, 10, -5, -1])
def test_a_body_that_ends_early_is_refused(coding, encode, size: int) -> None:
    with pytest.raises(InvalidInput, match=f"the body is not {coding}") as caught:
        decompress(coding, encode(TEXT)[:size])
    assert caught.value.field == "Content-Encoding"


@FORMS
def test_what_is_no_such_coding_is_refused(coding, encode, seed: int) -> None:
    random = np.random.default_rng(seed)
    good = encode(TEXT)
    for _ in range(50):
        bad = bytearray(good)
        bad[int(random.integers(len(bad)))] ^= 1 << int(random.integers(8))
        try:
            decompress(coding, bytes(bad))  # raw deflate has no checksum: it may be another text
        except (InvalidInput, PayloadTooLarge):
            continue
    with pytest.raises(InvalidInput):
        decompress(coding, b"\xff" * 100)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_in_a_row_are_one_body(coding: str) -> None:
    encode = dict(ENCODERS)[coding]
    assert decompress(coding, encode(b"a") + encode(b"b" * 70_000)) == b"a" + b"b" * 70_000
    assert decompress(coding, encode(b"a") * 1024) == b"a" * 1024
    with pytest.raises(InvalidInput, match="behind its end"):
        decompress(coding, encode(b"a") * 1025)
    with pytest.raises(InvalidInput):
        decompress(coding, encode(b"a") + b"junk")


def test_zlib_has_one_member() -> None:
    with pytest.raises(InvalidInput, match="behind its end"):
        decompress("deflate", zlib.compress(b"a") * 2)


@FORMS
def test_a_bomb_is_stopped_at_the_ratio(coding, encode) -> None:
    bomb = encode(bytes(64 << 20))
    assert len(bomb) < 100_000
    decompressor = Decompressor(coding, bomb, LIMITS)
    with pytest.raises(PayloadTooLarge, match="at most 100 times the size"):
        decompressor.run()
    assert len(decompressor.body) <= max(1 << 20, 100 * len(bomb)) + (64 << 10)


@FORMS
def test_the_ratio_is_free_below_a_mebibyte(coding, encode) -> None:
    assert len(decompress(coding, encode(bytes(1 << 20)))) == 1 << 20


@FORMS
@pytest.mark.parametrize("extra", [0, 1])
def test_the_limit_of_bytes_is_exact(coding, encode, extra: int) -> None:
    limits = CodingLimits(len(TEXT) - extra)
    if not extra:
        assert decompress(coding, encode(TEXT), limits) == TEXT
        return
    with pytest.raises(PayloadTooLarge, match=f"at most {len(TEXT) - 1} bytes when decompressed"):
        decompress(coding, encode(TEXT), limits)


def test_a_window_over_eight_mebibytes_is_refused() -> None:
    data = np.random.default_rng(0).bytes(1 << 20)
    window = zstd.CompressionParameter.window_log

    def encode(log: int) -> bytes:
        encoder = zstd.ZstdCompressor(options={window: log})
        return encoder.compress(data, mode=zstd.ZstdCompressor.FLUSH_BLOCK) + encoder.flush()

    assert decompress("zstd", encode(23)) == data
    with pytest.raises(InvalidInput, match="a window may have 8 MiB"):
        decompress("zstd", encode(24))


@pytest.mark.parametrize(
    ("value", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("GZIP ", "gzip"),
        ("x-gzip", "gzip"),
        ("deflate", "deflate"),
        ("zstd", "zstd"),
    ],
)
def test_codings_of_bodies(value: str | None, coding: str | None) -> None:
    assert request_coding(value) == coding


@pytest.mark.parametrize("value", ["br", "gzip, gzip", "gzip,br", "identity, gzip", "gzip;q=1"])
def test_other_codings_are_refused(value: str) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        request_coding(value)
    assert (caught.value.field, caught.value.expected) == (
        "Content-Encoding",
        "gzip, deflate, zstd",
    )


def test_without_its_module_zstd_is_refused_with_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(_coding, "_zstd", lambda: None)
    assert known_codings() == ("gzip", "deflate")
    with pytest.raises(UnsupportedMediaType, match=r"install pelton\[zstd\]"):
        request_coding("zstd")
    assert accepted_coding("zstd") is None


@pytest.mark.parametrize(
    ("value", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("br", None),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("x-gzip", "gzip"),
        ("deflate", "deflate"),
        ("zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("deflate, gzip;q=0.5", "deflate"),
        ("deflate;q=0.5, gzip;q=0.5", "gzip"),
        ("zstd, gzip;q=0.1", "gzip"),
        ("zstd, gzip;q=0", "zstd"),
        ("gzip;q=0", None),
        ("*", "gzip"),
        ("*;q=0", None),
        ("gzip;q=0, *", None),
        ("deflate, *;q=0.1", "deflate"),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("gzip;q=1.5", None),
        ("gzip;q=x", None),
        ("gzip; q=0.3", "gzip"),
        (";;,,", None),
    ],
)
def test_codings_of_answers(value: str | None, coding: str | None) -> None:
    assert accepted_coding(value) == coding


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_answers_are_read_by_stock_decoders(coding: str) -> None:
    decoders = {"gzip": gzip.decompress, "deflate": zlib.decompress, "zstd": zstd.decompress}
    chunks = [b"head", memoryview(TEXT), TEXT[:1000]]
    packed = compress(coding, chunks)
    assert packed is not None
    assert len(packed) < len(TEXT) / 2
    assert decoders[coding](packed) == b"".join(chunks)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_what_hardly_shrinks_is_left_alone(coding: str, seed: int) -> None:
    floats = np.random.default_rng(seed).standard_normal(10_000).astype(np.float32)
    assert compress(coding, [b'{"head": "of text"}' * 20, floats.tobytes()]) is None
    assert compress(coding, []) is None
