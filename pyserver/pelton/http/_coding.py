"""Content codings: which one a body has or an answer gets, and the work itself, within limits.

Pure: no I/O, no HTTP objects. Sources: RFC 9110, sections 8.4 and 12.5.3; RFC 1950 to 1952 (zlib,
deflate, gzip); RFC 8878 (zstd). Python has had zstd since 3.14; before that the extra "zstd" brings
the same module as `backports.zstd`.
"""

from __future__ import annotations

import functools
import importlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

from pelton.errors import InvalidInput, PayloadTooLarge, UnsupportedMediaType

__all__ = [
    "Coding",
    "CodingLimits",
    "Decompressor",
    "accepted_coding",
    "compress",
    "known_codings",
    "request_coding",
]

Coding = Literal["gzip", "deflate", "zstd"]

_FIELD: Final = "Content-Encoding"
_NAMES: Final[dict[str, Coding]] = {
    "gzip": "gzip",
    "x-gzip": "gzip",
    "deflate": "deflate",
    "zstd": "zstd",
}
# zlib's "wbits": the window, and which frame is around the deflated data.
_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_ZSTD_WINDOW_LOG_MAX: Final = 23  # 8 MiB
# Bytes given to a decoder, and taken from it, at a time.
_PIECE_BYTES: Final = 64 << 10
# Members of a gzip file and frames of zstd in one body: each costs memory and time of its own.
_MEMBERS_MAX: Final = 1024
# The fastest level: on numbers as JSON the next ones gain a tenth and take twice as long.
_LEVEL: Final = 1
_SAMPLE_BYTES: Final = 16 << 10
# Raw float tensors shrink by 7 %: not worth 20 ms a megabyte.
_SAMPLE_RATIO_MAX: Final = 0.9


class CodingLimits(NamedTuple):
    """A body may grow to `bytes_max`, and to `ratio_max` times its size where that is more than
    `ratio_bytes_min`."""

    bytes_max: int
    ratio_max: int = 100
    ratio_bytes_min: int = 1 << 20


@functools.cache
def _zstd() -> Any:
    """The module, or None where there is none."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def known_codings() -> tuple[Coding, ...]:
    """What bodies may come in, on this installation."""
    return ("gzip", "deflate", "zstd") if _zstd() is not None else ("gzip", "deflate")


def request_coding(value: str | None) -> Coding | None:
    """The coding of a body by its Content-Encoding; None for none, or "identity". Raises
    `UnsupportedMediaType` for another one, for several, and for zstd where it is not installed."""
    name = "" if value is None else value.strip().lower()
    if name in ("", "identity"):
        return None
    coding = _NAMES.get(name)
    known = known_codings()
    if coding in known:
        return coding
    expected = ", ".join(known)
    hint = "; for zstd install pelton[zstd]" if coding == "zstd" else ""
    raise UnsupportedMediaType(
        f"{_FIELD}: expected one of {expected}, got {name[:40]!r}{hint}",
        field=_FIELD,
        expected=expected,
        got=name[:40],
    )


def accepted_coding(accept_encoding: str | None) -> Coding | None:
    """The coding of an answer to a request with this Accept-Encoding, None for none.

    gzip or deflate, whichever is wanted more, gzip where both are; zstd only where neither is
    named: clients that list it beside them often cannot read it. None where the client prefers
    "identity", or did not ask.
    """
    if not accept_encoding:
        return None
    weights: dict[str, float] = {}
    for item in accept_encoding.split(","):
        name, _, parameters = item.partition(";")
        name = name.strip().lower()
        weights[_NAMES.get(name, name)] = _weight(parameters)
    gzip = weights.get("gzip", weights.get("*", 0.0))
    deflate = weights.get("deflate", 0.0)
    best: Coding = "gzip" if gzip >= deflate else "deflate"
    weight = max(gzip, deflate)
    if weight == 0 and weights.get("zstd", 0.0) > 0 and _zstd() is not None:
        best, weight = "zstd", weights["zstd"]
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _weight(parameters: str) -> float:
    """The value of `q=`; 1 where there is none, 0 where it is none."""
    name, _, text = parameters.strip().partition("=")
    if not name:
        return 1.0
    try:
        weight = float(text) if name.strip().lower() == "q" else 1.0
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0


def compress(coding: Coding, chunks: Sequence[bytes | memoryview]) -> bytes | None:
    """The chunks, one after the other, in `coding`; None where a sample of them hardly shrinks.

    Takes about 10 ms a megabyte of text. Thread-safe. REQUIRES: `accepted_coding` returned
    `coding`.
    """
    sample = max(chunks, key=len, default=b"")[:_SAMPLE_BYTES]
    if len(zlib.compress(sample, _LEVEL)) > _SAMPLE_RATIO_MAX * len(sample):
        return None
    encoder: Any
    if coding == "zstd":
        encoder = _zstd().ZstdCompressor(level=_LEVEL)
    else:
        encoder = zlib.compressobj(_LEVEL, wbits=_GZIP if coding == "gzip" else _ZLIB)
    pieces = [encoder.compress(chunk) for chunk in chunks]
    pieces.append(encoder.flush())
    return b"".join(pieces)


class Decompressor:
    """Decompresses one body step by step, so that a caller can do little of it here and the rest
    elsewhere. Not thread-safe.

        decompressor = Decompressor(coding, wire, limits)
        while not decompressor.run(1 << 16):
            ...
        decompressor.body
    """

    def __init__(self, coding: Coding, wire: bytes | memoryview, limits: CodingLimits) -> None:
        self.body = bytearray()
        self._coding = coding
        self._wire_bytes = len(wire)
        self._limits = limits
        self._bytes_max = min(
            limits.bytes_max, max(limits.ratio_bytes_min, limits.ratio_max * len(wire))
        )
        decoder = _Zstd if coding == "zstd" else _Zlib
        self._pieces = _decode(decoder(_frame(coding, wire)), memoryview(wire))

    def run(self, bytes_max: int | None = None) -> bool:
        """Add about `bytes_max` bytes to `body`, or all; returns whether it is complete. Raises
        `InvalidInput` for a body that is not of the coding, `PayloadTooLarge` as soon as it is
        larger than the limits allow."""
        enough = None if bytes_max is None else len(self.body) + bytes_max
        try:
            for piece in self._pieces:
                self.body += piece
                if len(self.body) > self._bytes_max:
                    raise self._too_large()
                if enough is not None and len(self.body) >= enough:
                    return False
        except (zlib.error, ValueError) as error:
            raise self._broken(str(error)) from None
        except Exception as error:
            # The class of the module's errors is not known where it is not installed.
            if type(error).__name__ != "ZstdError":
                raise
            raise self._broken(f"{error} (a window may have 8 MiB)") from None
        return True

    def _broken(self, reason: str) -> InvalidInput:
        return InvalidInput(
            f"the body is not {self._coding}: {reason[:160]}",
            field=_FIELD,
            expected=self._coding,
        )

    def _too_large(self) -> PayloadTooLarge:
        limits = self._limits
        got = f"{self._wire_bytes} bytes that become more"
        if self._bytes_max == limits.bytes_max:
            expected = f"at most {limits.bytes_max} bytes when decompressed"
        else:
            expected = f"at most {limits.ratio_max} times the size when decompressed"
        return PayloadTooLarge(
            f"expected a body of {expected}, got {got}", expected=expected, got=got
        )


def _frame(coding: Coding, wire: bytes | memoryview) -> int:
    """zlib's name of the frame. "deflate" is zlib's, but some clients send none: the first two
    bytes tell (RFC 1950, section 2.2)."""
    if coding == "gzip":
        return _GZIP
    is_zlib = len(wire) >= 2 and wire[0] & 15 == 8 and (wire[0] << 8 | wire[1]) % 31 == 0
    return _ZLIB if is_zlib else _RAW


class _Zlib:
    """zlib's decoder with the interface that zstd's has."""

    def __init__(self, frame: int) -> None:
        self._decoder = zlib.decompressobj(frame)
        self.takes_members = frame == _GZIP
        self.rest: bytes = b""
        self.needs_input = True

    def decode(self, data: bytes | memoryview) -> bytes:
        """Some output of `data`; what of it was not taken is in `rest`."""
        output = self._decoder.decompress(data, _PIECE_BYTES)
        ended = self._decoder.eof
        self.rest = self._decoder.unused_data if ended else self._decoder.unconsumed_tail
        self.needs_input = not self.rest and len(output) < _PIECE_BYTES
        return output

    @property
    def ended(self) -> bool:
        return self._decoder.eof

    def begin(self) -> None:
        """Another member follows."""
        self._decoder = zlib.decompressobj(_GZIP)


class _Zstd:
    """The same for zstd."""

    takes_members = True

    def __init__(self, _: int) -> None:
        self.begin()
        self.rest: bytes = b""
        self.needs_input = True

    def decode(self, data: bytes | memoryview) -> bytes:
        output: bytes = self._decoder.decompress(data, max_length=_PIECE_BYTES)
        self.rest = self._decoder.unused_data if self._decoder.eof else b""
        self.needs_input = not self._decoder.eof and self._decoder.needs_input
        return output

    @property
    def ended(self) -> bool:
        ended: bool = self._decoder.eof
        return ended

    def begin(self) -> None:
        module = _zstd()
        options = {module.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG_MAX}
        self._decoder = module.ZstdDecompressor(options=options)


def _decode(decoder: _Zlib | _Zstd, wire: memoryview) -> Iterator[bytes]:
    """The output in pieces. The input goes in by pieces too: a decoder copies what it has not
    taken yet at each call. Raises ValueError, zlib.error and ZstdError."""
    members = 1
    for start in range(0, len(wire), _PIECE_BYTES):
        data: bytes | memoryview = wire[start : start + _PIECE_BYTES]
        while True:
            if decoder.ended:
                if not data:
                    break
                if not decoder.takes_members or members == _MEMBERS_MAX:
                    raise ValueError(f"{len(data)} bytes or more behind its end")
                members += 1
                decoder.begin()
            yield decoder.decode(data)
            data = decoder.rest
            if decoder.needs_input and not decoder.ended:
                break
    if not decoder.ended:
        raise ValueError("it ends too early")
