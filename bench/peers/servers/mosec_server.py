"""x + 1, or a model of ONNX Runtime, on mosec: raw float32 bytes in and out.

The command line is mosec's; the model, batch size and workers come by environment variables, which
its worker processes inherit.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from mosec import Server, Worker

_MODEL = os.environ["PEER_MODEL"]  # "add", or the file of an ONNX model
_ROWS = int(os.environ["PEER_ROWS"])
_WORKERS = int(os.environ["PEER_WORKERS"])
_WAIT_MS = 1


class Model(Worker):  # type: ignore[misc]
    """Batches of rows."""

    def __init__(self) -> None:
        super().__init__()
        self._session: Any = None
        if _MODEL != "add":
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.inter_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(
                _MODEL, options, providers=["CPUExecutionProvider"]
            )

    def deserialize(self, data: bytes) -> Any:
        return np.frombuffer(data, np.float32)

    def serialize(self, data: Any) -> bytes:
        return bytes(data.tobytes())

    def forward(self, data: Any) -> Any:
        rows = np.stack(data) if isinstance(data, list) else data[None]
        (out,) = [rows + np.float32(1)] if self._session is None else self._run(rows)
        return list(out) if isinstance(data, list) else out[0]

    def _run(self, rows: Any) -> Any:
        return self._session.run(["y"], {"x": rows})


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, num=_WORKERS, max_batch_size=_ROWS, max_wait_time=_WAIT_MS)
    server.run()
