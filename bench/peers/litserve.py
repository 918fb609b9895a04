"""LitServe: FastAPI in front, a queue, worker processes that batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.peers.peer import SERVERS, Assets, Peer, Workload
from bench.server.requests import post

__all__ = ["PEER"]


def _command(
    python: Path, workload: Workload, port: int, assets: Assets, variant: Sequence[str]
) -> list[str]:
    assert workload == "embed"
    words = [str(python), str(SERVERS / "litserve_server.py")]
    return [*words, str(assets.encoder_onnx), str(assets.tokenizer), str(port), *variant]


def _request(text: str) -> bytes:
    body = json.dumps({"input": text}).encode()
    return post("/predict", body, {"Content-Type": "application/json"})


PEER: Final = Peer(
    name="litserve",
    requirements=(
        "litserve==0.2.19",
        "numpy==2.4.6",
        "onnxruntime==1.32.0",
        "tokenizers==0.23.3",
    ),
    workloads=frozenset({"embed"}),
    command=_command,
    text_request=_request,
    # Rows of a batch, workers, threads of ONNX Runtime in each and what those do between two
    # operators. Batches of mixed lengths are padded, so the largest are not the fastest.
    variants=(
        ("8", "1", "2", "spins"),
        ("1", "1", "2", "spins"),
        ("32", "2", "1", "sleeps"),
        ("4", "2", "1", "sleeps"),
        ("1", "2", "1", "sleeps"),
    ),
    env={"LIT_ENABLE_ANALYTICS": "0", "HF_HUB_OFFLINE": "1"},
)
