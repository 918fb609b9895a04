"""Embeddings on BentoML; its settings come by environment variables: `bentoml serve` imports it."""

from __future__ import annotations

import os

import bentoml
from text_encoder import TextEncoder

_ROWS = int(os.environ["PEER_ROWS"])
_WORKERS = int(os.environ["PEER_WORKERS"])


@bentoml.service(workers=_WORKERS, traffic={"timeout": 60, "max_concurrency": 1000})
class Embeddings:
    """{"texts": [text, ...]} -> [base64, ...]."""

    def __init__(self) -> None:
        self._encoder = TextEncoder(
            os.environ["PEER_GRAPH"],
            os.environ["PEER_TOKENIZER"],
            int(os.environ["PEER_THREADS"]),
            spins=os.environ["PEER_IDLE"] == "spins",
        )

    @bentoml.api(batchable=True, max_batch_size=_ROWS, max_latency_ms=60_000)  # type: ignore[untyped-decorator]
    def embed(self, texts: list[str]) -> list[str]:
        embeddings: list[str] = self._encoder.embed(texts)
        return embeddings
