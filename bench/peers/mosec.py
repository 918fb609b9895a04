"""mosec: a Rust front, Python workers behind a unix socket, batches of raw bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.peers.peer import SERVERS, Assets, Peer, Workload
from bench.server.requests import post

__all__ = ["PEER"]


def _command(
    python: Path, workload: Workload, port: int, assets: Assets, variant: Sequence[str]
) -> list[str]:
    rows, workers = variant
    values = {
        "PEER_MODEL": "add" if workload == "add" else assets.mlp_onnx,
        "PEER_ROWS": rows,
        "PEER_WORKERS": workers,
    }
    words = ["env", *(f"{name}={value}" for name, value in values.items())]
    words += [str(python), str(SERVERS / "mosec_server.py")]
    return [*words, "--address", "127.0.0.1", "--port", str(port), "--log-level", "warning"]


def _request(row: npt.NDArray[np.float32]) -> bytes:
    return post("/inference", row.astype("<f4").tobytes())


PEER: Final = Peer(
    name="mosec",
    requirements=("mosec==0.9.8", "numpy==2.4.6", "onnxruntime==1.32.0"),
    workloads=frozenset({"add", "mlp"}),
    command=_command,
    tensor_request=_request,
    # Rows of a batch, worker processes.
    variants=(("16", "1"), ("64", "1"), ("16", "2")),
)
