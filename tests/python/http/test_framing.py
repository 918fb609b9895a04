"""Heads and chunked bodies that break the rules of HTTP, over real sockets: what each gets, and
that nothing of it reaches a model or another request."""

from __future__ import annotations

import pytest

from python.http.hostile import (
    NATIVE,
    Reader,
    Running,
    ask,
    body_of,
    chunked,
    chunks,
    get,
    head,
    infer,
    talk,
    until,
)


def lines(*given: bytes) -> bytes:
    return b"\r\n".join(given) + b"\r\n\r\n"


# Each line is what stands behind `POST <path> HTTP/1.1` and a Host.
FIELDS: dict[str, tuple[bytes, int]] = {
    "both lengths": (b"Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
    "both lengths, the other way": (b"Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
    "coding gzip": (b"Transfer-Encoding: gzip", 501),
    "coding gzip before chunked": (b"Transfer-Encoding: gzip, chunked", 501),
    "coding identity": (b"Transfer-Encoding: identity", 501),
    "coding like chunked": (b"Transfer-Encoding: xchunked", 501),
    "chunked not last": (b"Transfer-Encoding: chunked, gzip", 400),
    "chunked twice": (b"Transfer-Encoding: chunked, chunked", 400),
    "chunked in two fields": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
    "chunked with a parameter": (b"Transfer-Encoding: chunked;q=1", 400),
    "chunked behind a control": (b"Transfer-Encoding: \x0bchunked", 400),
    "no coding": (b"Transfer-Encoding:", 400),
    "length no number": (b"Content-Length: x", 400),
    "length empty": (b"Content-Length:", 400),
    "length negative": (b"Content-Length: -1", 400),
    "length with a plus": (b"Content-Length: +5", 400),
    "length hexadecimal": (b"Content-Length: 0x5", 400),
    "length with a point": (b"Content-Length: 5.0", 400),
    "length with a space": (b"Content-Length: 5 5", 400),
    "length with a comma": (b"Content-Length: 5, 6", 400),
    "length over 2^63": (b"Content-Length: 9223372036854775808", 400),
    "length of 40 digits": (b"Content-Length: " + b"9" * 40, 400),
    "two lengths": (b"Content-Length: 5\r\nContent-Length: 6", 400),
    "two equal lengths": (b"Content-Length: 5\r\nContent-Length: 5", 400),
    "equal lengths with a comma": (b"Content-Length: 5, 5", 400),
    "space before the colon": (b"Content-Length : 5", 400),
    "tab before the colon": (b"A\t: b", 400),
    "folded line": (b"A: b\r\n c", 400),
    "line folded with a tab": (b"A: b\r\n\tc", 400),
    "no colon": (b"abc", 400),
    "no name": (b": b", 400),
    "name with a control": (b"A\x01: b", 400),
    "name outside ASCII": (b"\xc3\xa4: b", 400),
    "bare CR": (b"A: b\rc", 400),
    "bare LF": (b"A: b\nC: d", 400),
    "NUL": (b"A: b\x00c", 400),
    "DEL": (b"A: b\x7fc", 400),
    "second Host": (b"Host: y", 400),
    "Host with a path": (b"A: b\r\nHost: x/y", 400),
    "unknown expectation": (b"Expect: 200-ok\r\nContent-Length: 5", 417),
    "101 fields": (b"\r\n".join(b"f%d: v" % n for n in range(100)), 431),
    "33 KiB of fields": (b"\r\n".join(b"f%d: %b" % (n, b"x" * 700) for n in range(48)), 431),
    "a field of 33 KiB": (b"A: " + b"x" * (33 << 10), 431),
    "a name of 33 KiB": (b"x" * (33 << 10), 431),
}


@pytest.mark.parametrize("case", FIELDS)
def test_a_head_that_is_not_http(case: str, path: str, server: Running) -> None:
    fields, status = FIELDS[case]
    refused = server.count("refused_messages")
    # What follows would be a request if the head were read differently.
    request = lines(f"POST {path} HTTP/1.1\r\nHost: x".encode(), fields) + b"abcde" + infer(path)
    assert_refused(server, request, status)
    assert server.count("refused_messages") == refused + 1


def assert_refused(server: Running, request: bytes, status: int) -> None:
    """One answer in the format of all errors, then the end; no model was asked."""
    rows = server.rows_run()
    (answer,) = talk(server, request)
    assert (answer.status, answer.closes) == (status, True)
    assert answer.headers["content-type"] == "application/json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["error"] == problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert server.rows_run() == rows


REQUEST_LINES: dict[str, tuple[bytes, int]] = {
    "HTTP/0.9": (b"GET /v2\r\n\r\n", 400),
    "HTTP/2.0": (b"GET /v2 HTTP/2.0\r\nHost: x\r\n\r\n", 400),
    "HTTP/1.2": (b"GET /v2 HTTP/1.2\r\nHost: x\r\n\r\n", 400),
    "http in lower case": (b"GET /v2 http/1.1\r\nHost: x\r\n\r\n", 400),
    "preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40) + b"\r\n\r\n", 400),
    "two spaces": (b"GET  /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a tab": (b"GET\t/v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a space in front": (b" GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a space behind": (b"GET /v2 HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
    "a control in the target": (b"GET /v\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "UTF-8 in the target": (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a fragment": (b"GET /v2#a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no path": (b"GET v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a star for GET": (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "another scheme": (b"GET ftp://x/v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a user in the target": (b"GET http://me@x/v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a method of signs": (b"G@T /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no Host": (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
    "two empty lines": (b"\r\n\r\nGET /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a bare LF": (b"GET /v2 HTTP/1.1\nHost: x\n\n", 400),
    "a tunnel": (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    "a tunnel to nowhere": (b"CONNECT /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "target of 5 KiB": (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "target of 9 KiB, no end": (b"GET /" + b"x" * 9000, 414),
    "method of 9 KiB": (b"x" * 9000, 414),
    "chunked in HTTP/1.0": (
        b"POST /v2 HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
}


@pytest.mark.parametrize("case", REQUEST_LINES)
def test_a_request_line_that_is_not_http(case: str, server: Running) -> None:
    request, status = REQUEST_LINES[case]
    assert_refused(server, request + infer(NATIVE), status)


# What a chunked body is made of, and the status.
CHUNKS: dict[str, tuple[bytes, int]] = {
    "no hexadecimal": (b"g\r\n", 400),
    "no size": (b"\r\n", 400),
    "0x": (b"0x5\r\nabcde\r\n0\r\n\r\n", 400),
    "a sign": (b"+5\r\nabcde\r\n0\r\n\r\n", 400),
    "a minus": (b"-5\r\nabcde\r\n0\r\n\r\n", 400),
    "a space in front": (b" 5\r\nabcde\r\n0\r\n\r\n", 400),
    "a space behind": (b"5 \r\nabcde\r\n0\r\n\r\n", 400),
    "17 digits": (b"00000000000000005\r\nabcde\r\n0\r\n\r\n", 400),
    "16 digits, all of them f": (b"f" * 16 + b"\r\nabcde", 413),
    "a size over 2^63": (b"8000000000000000\r\nabcde", 413),
    "a bare LF": (b"5\nabcde\r\n0\r\n\r\n", 400),
    "a bare CR": (b"5\rabcde\r\n0\r\n\r\n", 400),
    "no line end behind the data": (b"5\r\nabcdeX0\r\n\r\n", 400),
    "more data than said": (b"5\r\nabcdefg\r\n0\r\n\r\n", 400),
    "257 bytes of an extension": (b"5;" + b"x" * 256 + b"\r\nabcde\r\n0\r\n\r\n", 400),
    "297 bytes of extensions": ((b"1;" + b"x" * 98 + b"\r\na\r\n") * 3, 400),
    "a control in an extension": (b"5;\x01\r\nabcde\r\n0\r\n\r\n", 400),
    "a trailer without a name": (b"0\r\n: b\r\n\r\n", 400),
    "a trailer without a colon": (b"0\r\nabc\r\n\r\n", 400),
    "a folded trailer": (b"0\r\nA: b\r\n c\r\n\r\n", 400),
    "a control in a trailer": (b"0\r\nA: \x00\r\n\r\n", 400),
    "101 trailers": (b"0\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(101)) + b"\r\n", 431),
    "33 KiB of a trailer": (b"0\r\nA: " + b"x" * (33 << 10) + b"\r\n\r\n", 431),
}


@pytest.mark.parametrize("case", CHUNKS)
@pytest.mark.parametrize("before", [False, True], ids=("at once", "behind good chunks"))
def test_a_chunked_body_that_is_not_http(
    case: str, before: bool, path: str, server: Running
) -> None:
    body, status = CHUNKS[case]
    good = chunks(body_of(path)[:20], 5) if before else b""
    assert_refused(server, chunked(path, good, body) + infer(path), status)


def test_more_chunks_than_may_be(path: str, server: Running) -> None:
    body = body_of(path)
    spaces = (65_536 - 1) * b"1\r\n \r\n"
    last = b"%x\r\n%b\r\n" % (len(body), body)
    assert ask(server, chunked(path, spaces, last, b"0\r\n\r\n")).status == 200
    assert_refused(server, chunked(path, spaces, b"1\r\n \r\n", last, b"0\r\n\r\n"), 400)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_chunks_of_any_size_cut_anywhere(size: int, path: str, server: Running) -> None:
    request = chunked(
        path, chunks(body_of(path), size, b";a=b" if size > 60 else b""), b"0\r\nA: b\r\n\r\n"
    )
    # Cut in three at many places: another chunk line, another CR, another digit.
    with server.connect() as sock:
        reader = Reader(sock)
        for at in range(1, len(request), max(1, len(request) // 40)):
            for part in (request[:at], request[at : at + 3], request[at + 3 :]):
                sock.sendall(part)
            assert reader.answer().status == 200


def test_what_is_legal_and_rare_is_taken(path: str, server: Running) -> None:
    body = body_of(path)
    length = f"Content-Length: {len(body)}"
    strange = (
        b"\r\n" + infer(path),
        head(f"http://y:1{path}", length) + body,
        infer(path).replace(b"Host: x", b"hOST:  \t x:80 \t "),
        infer(path).replace(b"Host: x", b"Host:"),
        infer(path, 1.0, "A:", "B:\t", "C: ä"),
        infer(path.replace("/told/", "/%74old/").replace("/plus_one/", "/plus%5fone/")),
        infer(f"{path}?a=b"),
        infer(path, 1.0, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: "),
        infer(path, 1.0, "Connection: Upgrade", "Upgrade: websocket"),
        head(path, "TRANSFER-ENCODING: Chunked") + chunks(body, 9) + b"000\r\n\r\n",
        chunked(path, b"%X\r\n%b\r\n0;%b\r\n\r\n" % (len(body), body, b"x" * 250)),
        infer(path, 1.0, "Expect: 100-Continue"),
    )
    for request in strange:
        with server.connect() as sock:
            sock.sendall(request + infer(path))
            reader = Reader(sock)
            statuses = [reader.answer().status for _ in range(2)]
            if statuses[0] == 100:
                statuses = [statuses[1], reader.answer().status]
            assert statuses == [200, 200], request


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (head("*", method="OPTIONS"), 204),
        (head(NATIVE, method="TRACE"), 405),
        (head(NATIVE, method="DELETE"), 405),
        (head(NATIVE, "Content-Length: 3", method="PATCH") + b"abc", 405),
        (infer("/v2/models/a%2fb/infer"), 404),
        (infer("/v2/models/%zz/infer"), 404),
        (infer("/v2/models/%00/infer"), 404),
        (infer("/v2/models/../infer"), 404),
        (infer("/v2/models/%2e%2e/infer"), 404),
        (infer("//v2/models/plus_one/infer"), 404),
        (infer("/v2/models/plus_one/infer/"), 404),
        (infer("/v2/models/plus_one/versions/9/infer"), 404),
    ],
)
def test_what_is_legal_and_not_served_leaves_the_connection(
    request_bytes: bytes, status: int, server: Running
) -> None:
    with server.connect() as sock:
        sock.sendall(request_bytes + infer(NATIVE))
        reader = Reader(sock)
        assert [reader.answer().status for _ in range(2)] == [status, 200]


@pytest.mark.parametrize("fields", [(), ("Connection: keep-alive",), ("Connection: close",)])
def test_old_clients_are_answered(fields: tuple[str, ...], path: str, server: Running) -> None:
    request = (
        infer(path, 1.0, *fields).replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: x\r\n", b"")
    )
    (answer,) = talk(server, request, shut=True)
    assert (answer.status, answer.closes) == (200, True)


# What the native parser lets pass and the one behind it does not: unknown methods, and a target
# that names a host and nothing else.
@pytest.mark.parametrize(
    "request_line", ["FOO /v2", "get /v2", "PRI /v2", "GET http://x", "GET http://y:/v2"]
)
def test_what_only_the_second_parser_refuses(request_line: str, server: Running) -> None:
    request = f"{request_line} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    rows = server.rows_run()
    (answer,) = talk(server, request + infer(NATIVE))
    assert (answer.status, answer.closes) == (400, True)
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (400, "invalid_input")
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert server.rows_run() == rows


def test_a_connection_ends_after_ten_thousand_requests(server: Running) -> None:
    count, step = 10_000, 100
    with server.connect() as sock:
        reader = Reader(sock)
        for _ in range(0, count, step):
            # A few go the other way: they count too.
            sock.sendall(infer(NATIVE) * (step - 1) + get("/v2/health/live"))
            answers = [reader.answer() for _ in range(step)]
            assert {answer.status for answer in answers} == {200}
            assert not any(answer.closes for answer in answers[:-1])
        # The last was one for the other parser, which ends the connection with the next message.
        if not answers[-1].closes:
            sock.sendall(infer(NATIVE))
            answers.append(reader.answer())
        assert answers[-1].closes
        assert reader.rest() == []


def test_nothing_is_run_behind_a_request_that_closes(path: str, server: Running) -> None:
    rows = server.rows_run()
    (answer,) = talk(server, infer(path, 1.0, "Connection: close") + infer(path) * 5)
    assert (answer.status, answer.closes) == (200, True)
    (answer,) = talk(server, get("/v2", "Connection: close") + infer(path) * 5)
    assert (answer.status, answer.closes) == (200, True)
    until(server.is_idle)
    assert server.rows_run() == rows + 1
