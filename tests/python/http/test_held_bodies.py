"""What is decided before a body is read, and how much of bodies is held, over real sockets."""

from __future__ import annotations

import pytest

from python.http.hostile import (
    NATIVE,
    Reader,
    Running,
    ask,
    body_of,
    chunks,
    head,
    infer,
    running,
    talk,
    until,
)


@pytest.mark.parametrize("kind", ["length", "chunks"])
def test_a_client_that_asks_is_told_to_go_on(kind: str, path: str, server: Running) -> None:
    body = body_of(path)
    framing = f"Content-Length: {len(body)}" if kind == "length" else "Transfer-Encoding: chunked"
    rest = body if kind == "length" else chunks(body, 9) + b"0\r\n\r\n"
    with server.connect() as sock:
        sock.sendall(head(path, framing, "Expect: 100-continue"))
        reader = Reader(sock)
        assert reader.answer().status == 100
        sock.sendall(rest)
        assert reader.answer().status == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (("Content-Length: 100000000",), 413),
        (("Content-Length: 9", "Content-Type: text/html"), 415),
        (("Content-Length: 9", "Accept: image/png"), 406),
        (("Content-Length: 9", "Expect: 100-continue, 200-ok"), 417),
    ],
)
def test_a_client_that_asks_is_told_no_before_it_sends(
    fields: tuple[str, ...], status: int, path: str, server: Running
) -> None:
    asking = fields if status == 417 else (*fields, "Expect: 100-continue")
    (answer,) = talk(server, head(path, *asking))
    assert (answer.status, answer.closes) == (status, True)


def test_an_unknown_model_is_told_before_the_body(server: Running) -> None:
    unknown = head("/v2/models/none/infer", "Content-Length: 9", "Expect: 100-continue")
    (answer,) = talk(server, unknown)
    assert (answer.status, answer.closes) == (404, True)


def test_a_body_over_the_limit_is_refused_before_it_comes(path: str, server: Running) -> None:
    request = head(path, "Content-Length: 9223372036854775807")
    rows = server.rows_run()
    for more in (0, 60 << 10):  # so much is read and dropped, so that the answer is not lost
        (answer,) = talk(server, request + bytes(more))
        assert (answer.status, answer.closes) == (413, True)
        assert answer.json()["got"] == "9223372036854775807 bytes"
    # One that goes on sending is cut off.
    with server.connect() as sock:
        sock.sendall(request)
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            sock.sendall(bytes(64 << 20))
    assert server.rows_run() == rows


def test_chunks_over_the_limit_are_refused_as_soon_as_they_say_so(path: str, tmp_path) -> None:
    with running(tmp_path, body_bytes_max=1 << 16) as server:
        for claims in (b"10001\r\n", b"8000\r\n" + bytes(1 << 15) + b"\r\n8001\r\n"):
            (answer,) = talk(server, head(path, "Transfer-Encoding: chunked") + claims)
            assert (answer.status, answer.closes) == (413, True)
            assert answer.json()["expected"] == "at most 65536 bytes"
        body = body_of(path)
        spaces = b" " * ((1 << 16) - len(body))
        whole = head(path, "Transfer-Encoding: chunked") + chunks(body + spaces, 9999)
        assert ask(server, whole + b"0\r\n\r\n").status == 200


def test_lengths_that_are_claimed_cost_nothing_and_bodies_that_come_do(tmp_path) -> None:
    with running(tmp_path, bodies_bytes_max=1 << 20, body_bytes_max=1 << 20) as server:
        claims = [server.connect() for _ in range(50)]
        for sock in claims:
            sock.sendall(head(NATIVE, f"Content-Length: {1 << 20}"))
        assert ask(server, infer(NATIVE)).status == 200
        assert server.count("body_bytes") == 0
        for sock in claims[:2]:
            sock.sendall(bytes(600 << 10))
        answers = [answer for sock in claims[1:2] for answer in Reader(sock).rest()]
        assert [(answer.status, answer.closes) for answer in answers] == [(503, True)]
        assert "retry-after" in answers[0].headers
        assert ask(server, infer(NATIVE)).status == 200
        for sock in claims:
            sock.close()
        until(server.is_idle)
