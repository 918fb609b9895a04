"""Embeddings on LitServe.

`python litserve_server.py GRAPH TOKENIZER PORT ROWS WORKERS THREADS spins|sleeps`
"""

# LitServe takes an annotation of decode_request for a type of FastAPI: it has none.
import sys
from typing import Any

import litserve
from text_encoder import TextEncoder

_WAIT_S = 0.005


class Embeddings(litserve.LitAPI):  # type: ignore[misc]
    """{"input": text} -> {"embedding": base64}."""

    def __init__(self, graph: str, tokenizer: str, threads: int, rows: int, *, spins: bool) -> None:
        super().__init__(max_batch_size=rows, batch_timeout=_WAIT_S)
        self._files = (graph, tokenizer, threads)
        self._rows = rows
        self._spins = spins

    def setup(self, device: Any) -> None:
        del device
        self._encoder = TextEncoder(*self._files, spins=self._spins)

    def decode_request(self, request):  # type: ignore[no-untyped-def]
        return request["input"]

    def batch(self, inputs: Any) -> Any:
        return list(inputs)

    def predict(self, texts: Any) -> Any:
        # LitServe calls neither batch() nor unbatch() where batches are of one.
        return self._encoder.embed(texts) if self._rows > 1 else self._encoder.embed([texts])[0]

    def unbatch(self, output: Any) -> Any:
        return output

    def encode_response(self, output: Any) -> Any:
        return {"embedding": output}


if __name__ == "__main__":
    graph, tokenizer, port, rows, workers, threads, idle = sys.argv[1:]
    api = Embeddings(graph, tokenizer, int(threads), int(rows), spins=idle == "spins")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(workers))
    server.run(
        host="127.0.0.1",
        port=int(port),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
    )
