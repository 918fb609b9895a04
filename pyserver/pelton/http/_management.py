"""Who may use the routes that manage a server without keys: processes of its user, on its host.

With a port open to others these routes are off. Otherwise the peer must be of this host, and so
must Host and Origin: a web page that a browser here shows can make it send requests, under a name
of the page's own (DNS rebinding), but with these headers.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from pelton.errors import Forbidden
from pelton.http._exchange import ALWAYS_OFF_LOOP, Exchange

__all__ = ["check_local", "check_same_user", "is_local_host"]

_ESTABLISHED: Final = "01"
_ROOT: Final = 0
# Who the request is from is then known to a proxy only.
_OF_PROXIES: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def is_local_host(name: str) -> bool:
    """Whether a host's name or address, without a port, can only mean this host."""
    name = name.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _host_of(authority: str) -> str:
    """The host of `host:port`, "" for what is none."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def check_local(exchange: Exchange) -> None:
    """Raises `Forbidden` unless the request comes from this host and is meant for it."""
    if not is_local_host(exchange.state.settings.host):
        raise Forbidden("management is off: this server listens for other hosts, without keys")
    if not (is_local_host(exchange.client_host) or _is_unix(exchange)):
        raise Forbidden("management is for this host only")
    if any(name in exchange.headers for name in _OF_PROXIES):
        raise Forbidden("management is for this host only, and not through a proxy")
    if not is_local_host(_host_of(exchange.headers.get("host", ""))):
        raise Forbidden("management is for this host only: Host names another")
    origin = exchange.headers.get("origin")
    if origin is not None and not is_local_host(_host_of(origin.partition("://")[2])):
        raise Forbidden("management is for this host only: Origin names another")


async def check_same_user(exchange: Exchange) -> None:
    """`check_local`, and `Forbidden` unless the peer runs as this process's user or as root. Looked
    up once for a connection."""
    check_local(exchange)
    regions = exchange.state.regions
    connection = exchange.connection
    if regions is not None and connection in regions.trusted:
        return
    uid = await exchange.off_loop(ALWAYS_OFF_LOOP, peer_uid, exchange_socket(exchange))
    if uid not in (_ROOT, os.geteuid()):
        raise Forbidden("shared memory is for processes of the user that runs this server")
    if regions is not None and connection is not None:
        regions.trusted.add(connection)


def exchange_socket(exchange: Exchange) -> Any:
    """The socket of the request's connection, None where it has none."""
    if exchange.connection is None:
        return None
    return exchange.connection.transport.get_extra_info("socket")


def _is_unix(exchange: Exchange) -> bool:
    # Not by the lack of an address: a TCP peer that has gone has none either.
    sock = exchange_socket(exchange)
    return sock is not None and sock.family == socket.AF_UNIX


def peer_uid(sock: Any) -> int | None:
    """The user of the process at the other end of a connection on this host, None where that
    cannot be found out."""
    if sock is None:
        return None
    try:
        if sock.family == socket.AF_UNIX:
            size = struct.calcsize("3i")
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            return int(struct.unpack("3i", credentials)[1])
        peer, own = sock.getpeername(), sock.getsockname()
        is_old = sock.family == socket.AF_INET or peer[0].startswith("::ffff:")
        ends = tuple(_proc_address(address[0], address[1]) for address in (peer, own))
        with open("/proc/net/tcp" if is_old else "/proc/net/tcp6", encoding="ascii") as table:
            return _uid_of(table, ends)
    except (OSError, ValueError, IndexError):
        return None


def _proc_address(host: str, port: int) -> str:
    """An address as /proc/net/tcp writes it: 32-bit words of the machine's byte order."""
    host = host.removeprefix("::ffff:").partition("%")[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    packed = socket.inet_pton(family, host)
    words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def _uid_of(table: Any, ends: tuple[str, ...]) -> int | None:
    """The user of the established socket between two addresses. Sockets in other states show the
    user 0, whoever made them."""
    for line in table:
        fields = line.split(maxsplit=8)
        if tuple(fields[1:3]) == ends and fields[3] == _ESTABLISHED:
            return int(fields[7])
    return None
