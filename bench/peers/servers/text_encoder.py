"""The encoder that LitServe and BentoML serve: tokenizers, and ONNX Runtime with a fused graph."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

__all__ = ["TextEncoder"]


class TextEncoder:
    """Pads each batch to its longest text."""

    def __init__(self, graph: str, tokenizer: str, threads: int, *, spins: bool) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin between two operators take part in the next sooner. Between two batches
        # the server's other processes need the CPUs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spins else "0")
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session: Any = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(256)

    def embed(self, texts: list[str]) -> list[str]:
        """The embeddings, base64 of float32."""
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        feed = {"input_ids": ids, "attention_mask": mask}
        (embeddings,) = self._session.run(["embedding"], feed)
        return [base64.b64encode(row.tobytes()).decode() for row in embeddings]
