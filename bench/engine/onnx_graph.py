"""A BERT encoder as a fused ONNX graph, from the same safetensors: the peer at its best.

Two forms, of which the bench runs the faster:

- `contrib`: the contrib operators that ONNX Runtime's own transformers optimizer arrives at for
  this model (EmbedLayerNormalization, Attention, SkipLayerNormalization, BiasGelu).
- `gemm`: the products as Gemm over [tokens, hidden] with the bias fused, attention as batched
  products, Add and LayerNormalization apart. ONNX Runtime 1.32's SkipLayerNormalization and
  Attention are slower on CPU than these.

In both the token type is folded into the positions and the scale of attention into the queries;
mean pooling is one product with the mask, and normalization makes its division needless.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

__all__ = ["FORMS", "build_graph"]

FORMS: Final = ("contrib", "gemm")
_CONTRIB: Final = "com.microsoft"
_OPSET: Final = 18
_IR_VERSION: Final = 9
_MASKED: Final = -1e9

Array = npt.NDArray[Any]


class _Graph:
    """Collects nodes and initializers; every result has a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []

    def constant(self, value: Array) -> str:
        name = f"c{len(self.initializers)}"
        # Rank 0 stays rank 0, which np.ascontiguousarray would not leave.
        array = np.asarray(value, order="C")
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        return self.ops(kind, *inputs, count=1, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, *inputs: str, count: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        names = [f"t{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names

    def model(self, output: str, hidden: int) -> ModelProto:
        self.nodes.append(helper.make_node("Identity", [output], ["embedding"]))
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT32, ["rows", "width"])
            for name in ("input_ids", "attention_mask")
        ]
        embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["rows", hidden])
        graph = helper.make_graph(
            self.nodes, "encoder", inputs, [embedding], initializer=self.initializers
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)


class _Encoder:
    """The weights of a folder, by layer."""

    def __init__(self, folder: Path) -> None:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        if config["model_type"] != "bert" or config["hidden_act"] != "gelu":
            raise SystemExit("bench: the peer's graph is written for BERT with GELU only")
        self.weights: dict[str, Array] = load_file(folder / "model.safetensors")
        self.layers: int = config["num_hidden_layers"]
        self.heads: int = config["num_attention_heads"]
        self.hidden: int = config["hidden_size"]
        self.epsilon: float = config["layer_norm_eps"]

    def norm(self, name: str) -> tuple[Array, Array]:
        return self.weights[name + ".weight"], self.weights[name + ".bias"]

    def dense(self, name: str) -> tuple[Array, Array]:
        """Weights as [inputs, outputs], and bias."""
        return self.weights[name + ".weight"].T, self.weights[name + ".bias"]

    def positions(self) -> Array:
        """With the embedding of token type 0, which all tokens have."""
        types = self.weights["embeddings.token_type_embeddings.weight"]
        positions: Array = self.weights["embeddings.position_embeddings.weight"] + types[0]
        return positions

    def words(self) -> Array:
        return self.weights["embeddings.word_embeddings.weight"]


def build_graph(folder: Path, form: str) -> ModelProto:
    """Inputs `input_ids` and `attention_mask`, INT32 [rows, width]; output `embedding`, FP32 [rows,
    hidden], mean pooled over the mask and of length 1."""
    encoder = _Encoder(folder)
    graph = _Graph()
    states = {"contrib": _contrib, "gemm": _gemm}[form](graph, encoder)
    mask = graph.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    weights = graph.op("Unsqueeze", mask, graph.integers(1))
    total = graph.op("Squeeze", graph.op("MatMul", weights, states), graph.integers(1))
    length = graph.op("ReduceL2", total, graph.integers(1), keepdims=1)
    return graph.model(graph.op("Div", total, length), encoder.hidden)


def _constants(graph: _Graph, arrays: Sequence[Array]) -> list[str]:
    return [graph.constant(array) for array in arrays]


def _contrib(graph: _Graph, encoder: _Encoder) -> str:
    def contrib(kind: str, *inputs: str, **attributes: Any) -> str:
        return graph.op(kind, *inputs, domain=_CONTRIB, **attributes)

    def skip_norm(x: str, skip: str, norm: str, bias: Array) -> str:
        scale, shift = _constants(graph, encoder.norm(norm))
        inputs = (x, skip, scale, shift, graph.constant(bias))
        return contrib("SkipLayerNormalization", *inputs, epsilon=encoder.epsilon)

    words, positions = _constants(graph, (encoder.words(), encoder.positions()))
    scale, shift = _constants(graph, encoder.norm("embeddings.LayerNorm"))
    inputs = ("input_ids", "", words, positions, "", scale, shift, "attention_mask")
    x, lengths, _ = graph.ops(
        "EmbedLayerNormalization", *inputs, count=3, domain=_CONTRIB, epsilon=encoder.epsilon
    )
    for layer in range(encoder.layers):
        prefix = f"encoder.layer.{layer}."
        parts = [encoder.dense(f"{prefix}attention.self.{p}") for p in ("query", "key", "value")]
        weight = graph.constant(np.concatenate([w for w, _ in parts], axis=1))
        bias = graph.constant(np.concatenate([b for _, b in parts]))
        attended = contrib("Attention", x, weight, bias, lengths, num_heads=encoder.heads)
        out, out_bias = encoder.dense(prefix + "attention.output.dense")
        product = graph.op("MatMul", attended, graph.constant(out))
        x = skip_norm(product, x, prefix + "attention.output.LayerNorm", out_bias)
        up, up_bias = encoder.dense(prefix + "intermediate.dense")
        product = graph.op("MatMul", x, graph.constant(up))
        inner = contrib("BiasGelu", product, graph.constant(up_bias))
        down, down_bias = encoder.dense(prefix + "output.dense")
        product = graph.op("MatMul", inner, graph.constant(down))
        x = skip_norm(product, x, prefix + "output.LayerNorm", down_bias)
    return x


def _gemm(graph: _Graph, encoder: _Encoder) -> str:
    head_dim = encoder.hidden // encoder.heads
    ids_shape = graph.op("Shape", "input_ids")
    width = graph.op("Slice", ids_shape, graph.integers(1), graph.integers(2))
    by_head = graph.op("Concat", ids_shape, graph.integers(encoder.heads, head_dim), axis=0)
    by_token = graph.integers(-1, encoder.hidden)

    def norm(x: str, name: str) -> str:
        scale, shift = _constants(graph, encoder.norm(name))
        return graph.op("LayerNormalization", x, scale, shift, epsilon=encoder.epsilon)

    def dense(x: str, name: str, scale: float = 1.0) -> str:
        weight, bias = _constants(graph, [scale * part for part in encoder.dense(name)])
        return graph.op("Gemm", x, weight, bias)

    def heads(x: str) -> str:
        return graph.op("Transpose", graph.op("Reshape", x, by_head), perm=[0, 2, 1, 3])

    words, positions = _constants(graph, (encoder.words(), encoder.positions()))
    position = graph.op("Slice", positions, graph.integers(0), width)
    x = graph.op("Add", graph.op("Gather", words, "input_ids"), position)
    x = graph.op("Reshape", norm(x, "embeddings.LayerNorm"), by_token)
    padding = graph.op("Equal", "attention_mask", graph.constant(np.array(0, np.int32)))
    padding = graph.op("Cast", padding, to=TensorProto.FLOAT)
    padding = graph.op("Mul", padding, graph.constant(np.array(_MASKED, np.float32)))
    padding = graph.op("Unsqueeze", padding, graph.integers(1, 2))
    for layer in range(encoder.layers):
        prefix = f"encoder.layer.{layer}."
        query = heads(dense(x, prefix + "attention.self.query", head_dim**-0.5))
        key = heads(dense(x, prefix + "attention.self.key"))
        value = heads(dense(x, prefix + "attention.self.value"))
        scores = graph.op("FusedMatMul", query, key, domain=_CONTRIB, transB=1)
        weights = graph.op("Softmax", graph.op("Add", scores, padding), axis=-1)
        context = graph.op("Transpose", graph.op("MatMul", weights, value), perm=[0, 2, 1, 3])
        out = dense(graph.op("Reshape", context, by_token), prefix + "attention.output.dense")
        x = norm(graph.op("Add", out, x), prefix + "attention.output.LayerNorm")
        inner = graph.op("Gelu", dense(x, prefix + "intermediate.dense"), domain=_CONTRIB)
        down = dense(inner, prefix + "output.dense")
        x = norm(graph.op("Add", down, x), prefix + "output.LayerNorm")
    return graph.op(
        "Reshape", x, graph.op("Concat", ids_shape, graph.integers(encoder.hidden), axis=0)
    )
