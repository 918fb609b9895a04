"""`/openapi.json`, generated from the contracts of the loaded models, and `/docs`, a page made of
it in the browser. The page needs no other host: its style and script are in it, and its policy
forbids all else."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path
from typing import Final

from pelton.http._answers import Answer, json_answer
from pelton.http._exchange import Exchange
from pelton.http._info import server_version
from pelton.http._openapi import document

__all__ = ["openapi", "page"]

_PAGE: Final = "docs.html"
# What may stand in a Host header and in the examples' URLs.
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")


async def openapi(exchange: Exchange) -> Answer:
    host = exchange.headers.get("host", "")
    if not _HOST.fullmatch(host):
        host = "localhost"
    found = document(exchange.state.models, server_version(), f"http://{host}")
    answer = json_answer(found)
    answer.headers.append((b"cache-control", b"no-store"))
    return answer


async def page(_: Exchange) -> Answer:
    text, policy = _read_page()
    return Answer(
        200,
        (text,),
        [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", policy),
            (b"cache-control", b"no-cache"),
            (b"referrer-policy", b"no-referrer"),
            (b"x-content-type-options", b"nosniff"),
        ],
    )


@functools.cache
def _read_page() -> tuple[bytes, bytes]:
    """The page, and a policy that lets its own style and script run, by their hashes."""
    text = Path(__file__).with_name(_PAGE).read_bytes()
    sources = {}
    for tag in (b"style", b"script"):
        found = re.search(rb"<%b>(.*?)</%b>" % (tag, tag), text, re.DOTALL)
        assert found is not None, f"the page has no <{tag.decode()}>"
        digest = base64.b64encode(hashlib.sha256(found[1]).digest()).decode()
        sources[tag.decode()] = f"'sha256-{digest}'"
    policy = (
        f"default-src 'none'; style-src {sources['style']}; script-src {sources['script']}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return text, policy.encode()
