"""BentoML: a Starlette service with adaptive batching."""

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
    rows, workers, threads, idle = variant
    values = {
        "PEER_GRAPH": assets.encoder_onnx,
        "PEER_TOKENIZER": assets.tokenizer,
        "PEER_ROWS": rows,
        "PEER_WORKERS": workers,
        "PEER_THREADS": threads,
        "PEER_IDLE": idle,
    }
    words = ["env", *(f"{name}={value}" for name, value in values.items())]
    words += [str(python), "-m", "bentoml", "serve", "bentoml_server:Embeddings"]
    return [*words, "--working-dir", str(SERVERS), "--host", "127.0.0.1", "--port", str(port)]


def _request(text: str) -> bytes:
    body = json.dumps({"texts": [text]}).encode()
    return post("/embed", body, {"Content-Type": "application/json"})


PEER: Final = Peer(
    name="bentoml",
    requirements=(
        "bentoml==1.4.40",
        "numpy==2.4.6",
        "onnxruntime==1.32.0",
        "tokenizers==0.23.3",
    ),
    workloads=frozenset({"embed"}),
    command=_command,
    text_request=_request,
    # As LitServe's; a method that batches has batches of two at least.
    variants=(
        ("8", "1", "2", "spins"),
        ("8", "2", "1", "sleeps"),
        ("4", "2", "1", "sleeps"),
        ("2", "2", "1", "sleeps"),
    ),
    env={"BENTOML_DO_NOT_TRACK": "True", "HF_HUB_OFFLINE": "1"},
)
