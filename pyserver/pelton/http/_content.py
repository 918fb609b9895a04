"""Which wire format a request is in, and which its answer is to be in."""

from __future__ import annotations

from enum import Enum
from typing import Final

from pelton.errors import InvalidInput, NotAcceptable, UnsupportedMediaType

__all__ = ["Format", "answer_format", "request_format"]


class Format(Enum):
    """The wire formats of inference. `OIP` is JSON, with raw tensors behind it where asked for."""

    OIP = "application/json"
    MSGPACK = "application/msgpack"


_JSON_TYPES: Final = ("application/json", "application/octet-stream", "")
_MSGPACK_TYPES: Final = ("application/msgpack", "application/vnd.msgpack")
ACCEPTED: Final = "application/json, application/octet-stream, application/msgpack"


def _media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()


def request_format(content_type: str | None, has_head_length: bool) -> Format:
    """Clients of Triton Inference Server send JSON as octet-stream, or name no type at all, so the
    type alone never decides. Raises `UnsupportedMediaType`."""
    media = _media_type(content_type or "")
    if has_head_length or media in _JSON_TYPES or (media.endswith("+json")):
        return Format.OIP
    if media in _MSGPACK_TYPES:
        return Format.MSGPACK
    raise UnsupportedMediaType(
        f"Content-Type: expected one of {ACCEPTED}, got {media[:60]!r}",
        field="Content-Type",
        expected=ACCEPTED,
        got=media[:60],
    )


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                raise InvalidInput(
                    f"Accept: expected a number after q=, got {value[:20]!r}", field="Accept"
                ) from None
    return 1.0


def _qualities(accept: str) -> dict[str, float]:
    """The weight of each media range (RFC 9110, section 12.5.1)."""
    found: dict[str, float] = {}
    for part in accept.split(",")[:32]:
        media, *parameters = part.split(";")
        if media.strip():
            found[media.strip().lower()] = _quality(parameters)
    return found


def answer_format(accept: str | None, asked_in: Format) -> Format:
    """The format that `Accept` prefers, by default and at equal weight that of the request. Raises
    `NotAcceptable` where it takes none of them."""
    qualities = _qualities(accept) if accept else {}
    if not qualities:
        return asked_in
    ranges = {
        Format.OIP: (*_JSON_TYPES[:2], "application/*", "*/*"),
        Format.MSGPACK: (*_MSGPACK_TYPES, "application/*", "*/*"),
    }
    weights: dict[Format, float] = {}
    for form, names in ranges.items():
        exact = [qualities[name] for name in names[:2] if name in qualities]
        # A type named by itself outweighs the ranges that it is in.
        wide = [qualities[name] for name in names[2:] if name in qualities]
        weights[form] = max(exact) if exact else next(iter(wide), 0.0)
    best = max(weights.values())
    if best <= 0.0:
        raise NotAcceptable(
            f"Accept: the answer can be {ACCEPTED}, got {(accept or '')[:80]!r}",
            field="Accept",
            expected=ACCEPTED,
            got=(accept or "")[:80],
        )
    return asked_in if weights[asked_in] == best else next(f for f in Format if weights[f] == best)
