"""Triton: the server binary that comes with nvidia-pytriton, and a C++ backend of ours (x + 1).

Its Python backend is never used: that would measure Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.peers.peer import Assets, Peer, Workload
from bench.server.requests import oip_request

__all__ = ["PEER"]

_SOURCES: Final = Path(__file__).resolve().parent / "triton_backend"
_BACKEND: Final = "add_one"
_CONFIG: Final = """
name: "add"
backend: "add_one"
max_batch_size: %(rows)s
input [ { name: "x" data_type: TYPE_FP32 dims: [ 16 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 16 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
%(batching)s
"""
_BATCHING: Final = "dynamic_batching { max_queue_delay_microseconds: 0 }"


def _build(folder: Path) -> None:
    """Exits where the compiler fails."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [os.environ.get("CXX", "g++"), "-std=c++20", "-O2", "-shared", "-fPIC"]
    words += ["-fvisibility=hidden", "-o", str(folder / f"libtriton_{_BACKEND}.so")]
    words += [str(_SOURCES / "add_one.cc")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(words)} failed:\n{done.stderr}")


def _command(
    python: Path, workload: Workload, port: int, assets: Assets, variant: Sequence[str]
) -> list[str]:
    assert workload == "add"
    (batching,) = variant
    folder = assets.folder / "triton" / batching
    shutil.rmtree(folder, ignore_errors=True)
    _build(folder / "backends" / _BACKEND)
    model = folder / "models" / "add"
    (model / "1").mkdir(parents=True)
    values = {"rows": 64, "batching": _BATCHING if batching == "dynamic" else ""}
    (model / "config.pbtxt").write_text(_CONFIG % values)
    server = next(python.parent.parent.glob("lib/python*/site-packages/pytriton/tritonserver"))
    return [
        str(server / "bin" / "tritonserver"),
        f"--model-repository={model.parent}",
        f"--backend-directory={folder / 'backends'}",
        f"--http-port={port}",
        "--http-address=127.0.0.1",
        "--allow-grpc=false",
        "--allow-metrics=false",
        "--log-info=false",
    ]


def _request(row: npt.NDArray[np.float32]) -> bytes:
    return oip_request("add", "x", row.reshape(1, -1), "binary")


PEER: Final = Peer(
    name="triton",
    requirements=("nvidia-pytriton==0.7.0",),
    workloads=frozenset({"add"}),
    command=_command,
    tensor_request=_request,
    variants=(("plain",), ("dynamic",)),
)
