"""A text encoder in plain float64 NumPy: one sequence at a time, no padding, no fusion.

What every layer's outputs are compared to. It reads `config.json`, `model.safetensors` and the
sentence-transformers files by itself and shares no code with the compiler or the engine; it is
written to be read beside the papers (Devlin et al. 2018, arXiv 1810.04805; Vaswani et al. 2017,
arXiv 1706.03762) and is slow.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# The same weights under the names of two code bases.
BERT_NAMES = {
    "layer": "encoder.layer.{}.",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "out": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm2": "output.LayerNorm",
}
DISTILBERT_NAMES = {
    "layer": "transformer.layer.{}.",
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "out": "attention.out_lin",
    "norm1": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "norm2": "output_layer_norm",
}


def read_safetensors(path: Path) -> dict[str, Array]:
    """Eight bytes of header length, a JSON header, raw little-endian values."""
    data = path.read_bytes()
    header_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_bytes])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in ("F32", "F16", "BF16"):
            continue
        begin, end = entry["data_offsets"]
        raw = data[8 + header_bytes + begin : 8 + header_bytes + end]
        if entry["dtype"] == "BF16":
            upper = np.frombuffer(raw, "<u2").astype(np.uint32)
            values = (upper << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[entry["dtype"]])
        tensors[name] = values.astype(np.float64).reshape(entry["shape"])
    return tensors


def erf(x: Array) -> Array:
    return np.fromiter(map(math.erf, x.ravel()), np.float64, x.size).reshape(x.shape)


def gelu_erf(x: Array) -> Array:
    return 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)))


def gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu_erf,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
}


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


class OracleEncoder:
    """The model in `folder`. `embed(ids)` is one row of the model's output."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        kind = self.config["model_type"]
        self.names = DISTILBERT_NAMES if kind == "distilbert" else BERT_NAMES
        distil = kind == "distilbert"
        self.heads = self.config["n_heads" if distil else "num_attention_heads"]
        self.layers = self.config["n_layers" if distil else "num_hidden_layers"]
        self.activation = ACTIVATIONS[self.config["activation" if distil else "hidden_act"]]
        self.epsilon = self.config.get("layer_norm_eps", 1e-12)
        # RoBERTa and its kin number positions from the padding id on.
        numbered_after_padding = kind in ("roberta", "xlm-roberta", "camembert")
        self.first = self.config["pad_token_id"] + 1 if numbered_after_padding else 0
        tensors = read_safetensors(folder / "model.safetensors")
        (words,) = (n for n in tensors if n.endswith("embeddings.word_embeddings.weight"))
        prefix = words.removesuffix("embeddings.word_embeddings.weight")
        self.weights = {
            name.removeprefix(prefix)
            .replace("LayerNorm.gamma", "LayerNorm.weight")
            .replace("LayerNorm.beta", "LayerNorm.bias"): value
            for name, value in tensors.items()
        }
        self.pooling, self.normalized = read_pooling(folder)

    def embed(self, ids: Sequence[int], type_ids: Sequence[int] | None = None) -> Array:
        """float64 [hidden] for one sequence, special tokens included in `ids`."""
        tokens = self.hidden_states(ids, type_ids)
        if self.pooling == "cls":
            row = tokens[0]
        elif self.pooling == "max":
            row = tokens.max(axis=0)
        elif self.pooling == "mean_sqrt_len":
            row = tokens.sum(axis=0) / math.sqrt(len(tokens))
        else:
            row = tokens.mean(axis=0)
        if self.normalized:
            row = row / max(float(np.linalg.norm(row)), 1e-12)
        return np.asarray(row)

    def hidden_states(self, ids: Sequence[int], type_ids: Sequence[int] | None = None) -> Array:
        """float64 [tokens, hidden] after the last layer."""
        x = self.weights["embeddings.word_embeddings.weight"][list(ids)]
        positions = np.arange(len(ids)) + self.first
        x = x + self.weights["embeddings.position_embeddings.weight"][positions]
        types = self.weights.get("embeddings.token_type_embeddings.weight")
        if types is not None:
            x = x + types[[0] * len(ids) if type_ids is None else list(type_ids)]
        x = self.layer_norm(x, "embeddings.LayerNorm")
        for layer in range(self.layers):
            x = self.layer(x, self.names["layer"].format(layer))
        return x

    def layer(self, x: Array, prefix: str) -> Array:
        names = {part: prefix + name for part, name in self.names.items()}
        attended = self.linear(self.attention(x, names), names["out"])
        x = self.layer_norm(x + attended, names["norm1"])
        forward = self.linear(self.activation(self.linear(x, names["up"])), names["down"])
        return self.layer_norm(x + forward, names["norm2"])

    def attention(self, x: Array, names: dict[str, str]) -> Array:
        size = x.shape[1] // self.heads
        context = np.empty_like(x)
        q, k, v = (self.linear(x, names[part]) for part in ("query", "key", "value"))
        for head in range(self.heads):
            columns = slice(head * size, (head + 1) * size)
            scores = q[:, columns] @ k[:, columns].T / math.sqrt(size)
            context[:, columns] = softmax(scores) @ v[:, columns]
        return context

    def linear(self, x: Array, name: str) -> Array:
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def layer_norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.epsilon)
        normed: Array = centred / deviation
        return normed * self.weights[name + ".weight"] + self.weights[name + ".bias"]


def read_pooling(folder: Path) -> tuple[str, bool]:
    """The pooling's name and whether rows are normalized, from the sentence-transformers files."""
    if not (folder / "modules.json").exists():
        return "mean", False
    modules = json.loads((folder / "modules.json").read_text())
    kinds = {module["type"].rsplit(".", 1)[-1]: module for module in modules}
    config = json.loads((folder / kinds["Pooling"]["path"] / "config.json").read_text())
    modes = {
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    }
    (pooling,) = (name for key, name in modes.items() if config.get(key))
    return pooling, "Normalize" in kinds
