"""What all rows stand on: options, files of models and requests, and servers that end with it."""

from __future__ import annotations

import base64
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from bench.peers.peer import Assets, Peer, Workload
from bench.server.contest import Contestant, Sample, sample
from bench.server.models import ADD_WIDTH, MLP_WIDTHS, add_plan, mlp_onnx, mlp_plan
from bench.server.processes import ServerProcess, free_port, pelton_command
from bench.server.requests import oip_request, post, write_requests

__all__ = ["FLOOR_BODY_BYTES", "ServerOptions", "Stage", "load_peer"]

FLOOR_BODY_BYTES: Final = 64
_HERE: Final = Path(__file__).resolve().parent
_ANSWER_BYTES_MAX: Final = 1 << 20
_BASE64: Final = re.compile(rb'"([A-Za-z0-9+/]{100,}={0,2})"')

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """`tiny` runs everything once, shortly, to see that it works: its figures mean nothing."""

    program: Path
    isa: str
    encoder: Path | None = None  # folder of MiniLM
    threads: int = 2
    rounds: int = 15
    seed: int = 1
    tiny: bool = False

    @property
    def seconds(self) -> float:
        """Of one sample."""
        return 0.1 if self.tiny else 1.0

    @property
    def windows(self) -> int:
        """Of an on/off measurement: at least 60, of at least half a second."""
        return 4 if self.tiny else max(60, 8 * self.rounds)

    @property
    def window_s(self) -> float:
        return 0.3 if self.tiny else 0.5

    @property
    def idle_connections(self) -> int:
        return 50 if self.tiny else 10_000


def load_peer(name: str) -> Peer:
    peer = import_module(f"bench.peers.{name}").PEER
    assert isinstance(peer, Peer)
    return peer


class Stage:
    """A context manager: its servers and files are gone afterwards."""

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="pelton-bench-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._random = np.random.default_rng(options.seed)
        #: Of peers: name, variant, requests/s, CPU per request.
        self.trials: list[tuple[str, ...]] = []

    @cached_property
    def add_row(self) -> Array:
        return self._random.standard_normal(ADD_WIDTH, np.float32)

    @cached_property
    def mlp_row(self) -> Array:
        return self._random.standard_normal(MLP_WIDTHS[0], np.float32)

    @cached_property
    def add_plan(self) -> Path:
        return add_plan(self.folder)

    @cached_property
    def mlp_plan(self) -> Path:
        return mlp_plan(self.folder, self.options.seed)

    @cached_property
    def assets(self) -> Assets:
        """Of the peers. Builds the encoder's graph only where there is an encoder."""
        graph = None
        encoder = self.options.encoder
        if encoder is not None:
            import onnx

            from bench.engine.onnx_graph import build_graph

            graph = self.folder / "encoder.onnx"
            onnx.save(build_graph(encoder, "gemm"), str(graph))
        return Assets(
            folder=self.folder,
            mlp_onnx=mlp_onnx(self.folder, self.options.seed),
            encoder_onnx=graph,
            tokenizer=None if encoder is None else encoder / "tokenizer.json",
        )

    def requests(self, name: str, *requests: bytes) -> Path:
        return write_requests(self.folder / f"{name}.requests", requests)

    def start(self, name: str, command: list[str], *, port: int, probe: bytes) -> ServerProcess:
        return self._stack.enter_context(ServerProcess(name, command, port=port, probe=probe))

    def pelton(self, models: dict[str, Path], probe: bytes) -> ServerProcess:
        port = free_port()
        command = pelton_command(models, port=port, threads=self.options.threads)
        return self.start("pelton", command, port=port, probe=probe)

    def floor(self) -> Contestant:
        request = post("/", bytes(FLOOR_BODY_BYTES))
        port = free_port()
        command = [sys.executable, str(_HERE / "floor.py"), str(port)]
        server = self.start("floor", command, port=port, probe=request)
        return Contestant(server, self.requests("floor", request))

    def pelton_add(self, form: str = "binary", server: ServerProcess | None = None) -> Contestant:
        """The no-op model asked in one format, on a server of its own unless one is given."""
        request = oip_request("add", "x", self.add_row[None], form)
        if server is None:
            server = self.pelton({"add": self.add_plan}, request)
        if form != "json":
            _check_bytes(server, request, (self.add_row + np.float32(1)).tobytes())
        return Contestant(server, self.requests(f"pelton-{form}", request))

    def peer(
        self,
        peer: Peer,
        workload: Workload,
        *,
        texts: list[str] | None = None,
        worth: Callable[[Sample], float] = lambda sample: sample.rate,
    ) -> Contestant:
        """A peer at its best: the variant of the highest `worth` in one sample of each."""
        python = peer.install()
        if texts is not None:
            assert peer.text_request is not None
            requests = [peer.text_request(text) for text in texts]
        else:
            assert peer.tensor_request is not None
            row = self.add_row if workload == "add" else self.mlp_row
            requests = [peer.tensor_request(row)]
        path = self.requests(f"{peer.name}-{workload}", *requests)

        def begin(variant: tuple[str, ...]) -> Contestant:
            port = free_port()
            command = peer.command(python, workload, port, self.assets, variant)
            server = ServerProcess(
                peer.name, command, port=port, probe=requests[0], env=peer.env, folder=self.folder
            )
            return Contestant(server, path)

        best: tuple[float, tuple[str, ...]] | None = None
        for variant in peer.variants if not self.options.tiny else peer.variants[:1]:
            contestant = begin(variant)
            with contestant.server:
                trial = self._trial(peer.name, contestant)
            told = (peer.name, " ".join(variant), f"{trial.rate:,.0f}", f"{trial.cpu_us:,.1f}")
            print(f"bench: {' '.join(told)} us of CPU each", file=sys.stderr, flush=True)
            self.trials.append(told)
            if best is None or worth(trial) > best[0]:
                best = (worth(trial), variant)
        assert best is not None
        chosen = begin(best[1])
        self._stack.enter_context(chosen.server)
        if workload == "add":
            expected = (self.add_row + np.float32(1)).tobytes()
            _check_bytes(chosen.server, requests[0], expected)
        return chosen

    def _trial(self, name: str, contestant: Contestant) -> Sample:
        seconds = self.options.seconds
        sample(self.options.program, name, contestant, 64, seconds)  # warms up
        return sample(self.options.program, name, contestant, 64, 2 * seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()


def ask(server: ServerProcess, request: bytes) -> bytes:
    """The body of the answer to one request."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request)
        data = b""
        while len(data) < _ANSWER_BYTES_MAX:
            head, end, body = data.partition(b"\r\n\r\n")
            found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            if end and found and len(body) >= int(found[1]):
                return body
            part = connection.recv(65536)
            if not part:
                break
            data += part
    raise SystemExit(f"bench: {server.name}: an answer that ends early: {data[:200]!r}")


def _check_bytes(server: ServerProcess, request: bytes, expected: bytes) -> None:
    """A server that is fast and wrong is not compared."""
    body = ask(server, request)
    if expected not in body:
        raise SystemExit(f"bench: {server.name} gives a wrong answer: {body[:200]!r}")


def last_floats(server: ServerProcess, request: bytes, count: int) -> Array:
    """The float32 values at the end of a binary answer."""
    return np.frombuffer(ask(server, request)[-4 * count :], "<f4")


def embedding(server: ServerProcess, request: bytes) -> Array:
    """The first base64 string of an answer, as float32."""
    found = _BASE64.search(ask(server, request))
    if found is None:
        raise SystemExit(f"bench: {server.name} gives no embedding")
    return np.frombuffer(base64.b64decode(found[1]), "<f4")
