"""What `PeltonProtocol` builds on in uvicorn. A release that changes it must be read before it is
allowed: compare the sources, run the tests of the protocol, then bring the digests here up to
date."""

from __future__ import annotations

import hashlib
import inspect

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from pelton.http import PeltonProtocol

MINOR_VERSION = "0.54."
DIGESTS = {
    HttpToolsProtocol: "18fdf324b11bf160",
    RequestResponseCycle: "e67d470d435dcc1c",
    FlowControl: "126debcdaa894c83",
}
# What it calls or replaces.
MEMBERS = (
    *("__init__", "connection_made", "connection_lost", "eof_received", "data_received"),
    *("pause_writing", "resume_writing", "on_message_begin", "on_response_complete"),
    *("send_400_response", "_unset_keepalive_if_required"),
)


def test_the_minor_version_is_the_one_that_was_read() -> None:
    assert uvicorn.__version__.startswith(MINOR_VERSION)


@pytest.mark.parametrize("kind", DIGESTS, ids=lambda kind: kind.__name__)
def test_the_source_is_the_one_that_was_read(kind: type) -> None:
    digest = hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()[:16]
    assert digest == DIGESTS[kind], f"uvicorn's {kind.__name__} has changed: read it"


@pytest.mark.parametrize("name", MEMBERS)
def test_the_members_are_there(name: str) -> None:
    assert callable(getattr(HttpToolsProtocol, name))


def test_the_protocol_is_a_subclass_whose_reads_are_native() -> None:
    assert issubclass(PeltonProtocol, HttpToolsProtocol)
    assert "data_received" not in vars(PeltonProtocol)  # an attribute of each connection
