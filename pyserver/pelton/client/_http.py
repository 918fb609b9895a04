"""Failures of the connection, as errors of the tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pelton.errors import BadResponse, DeadlineExceeded, Unavailable

__all__ = ["response_too_large", "timed_out", "translated"]


def timed_out(seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"no answer within {seconds:g} s", expected=f"an answer within {seconds:g} s"
    )


def response_too_large(bytes_max: int) -> BadResponse:
    return BadResponse(
        f"the answer has more than {bytes_max} bytes", expected=f"at most {bytes_max} bytes"
    )


@contextmanager
def translated(seconds: float) -> Iterator[None]:
    """Raises what httpx raises as DeadlineExceeded, Unavailable or BadResponse."""
    import httpx

    try:
        yield
    except (httpx.TimeoutException, TimeoutError) as error:
        raise timed_out(seconds) from error
    except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
        raise BadResponse(f"the server's answer is not HTTP that can be read: {error}") from error
    except httpx.TransportError as error:
        raise Unavailable(f"the server cannot be reached: {error}") from error
