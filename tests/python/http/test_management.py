"""Who is at the other end of a connection."""

from __future__ import annotations

import os
import socket

import pytest

from pelton.http._management import is_local_host, peer_uid


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("localhost", True),
        ("Localhost.", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("2130706433", False),
    ],
)
def test_names_of_this_host(name: str, local: bool) -> None:
    assert is_local_host(name) is local


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_user_of_a_peer_by_address(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        try:
            listener.bind((address, 0))
        except OSError:
            pytest.skip(f"no {address} here")
        listener.listen()
        with socket.create_connection(listener.getsockname()[:2]) as client:
            server, _ = listener.accept()
            with server:
                assert peer_uid(server) == os.geteuid()
                client.close()
                # A socket without a process shows as root's: it must not count.
                assert peer_uid(server) is None


def test_an_old_client_of_a_dual_listener() -> None:
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            listener.bind(("::", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        listener.listen()
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
            server, _ = listener.accept()
            with server:
                assert server.getpeername()[0] == "::ffff:127.0.0.1"
                assert peer_uid(server) == os.geteuid()


def test_the_user_of_a_peer_by_unix_socket() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_uid(one) == os.geteuid()


def test_no_socket_has_no_user() -> None:
    assert peer_uid(None) is None
    with socket.socket() as unconnected:
        assert peer_uid(unconnected) is None
