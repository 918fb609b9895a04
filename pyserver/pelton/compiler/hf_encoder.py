"""A Hugging Face encoder folder to a graph, its metadata and its attachments.

Expected are `config.json`, `model.safetensors`, `tokenizer.json` and, where the model is one of
sentence-transformers, its `modules.json` with what that names. The graph is the model as published
(BERT: Devlin et al. 2018, arXiv 1810.04805; pooling: Reimers and Gurevych 2019, arXiv 1908.10084),
one node per step; `passes` fuse it.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton.compiler._source import read_bytes, read_json, refuse
from pelton.compiler._weights import WeightFile
from pelton.compiler.hf_config import EncoderConfig, parse_config
from pelton.compiler.hf_pooling import (
    CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
    SentenceModel,
    read_sentence_model,
)
from pelton.compiler.ir import TOKENS, Binary, Graph, GraphBuilder

__all__ = ["Encoder", "load_encoder"]

_TOKENIZER_BYTES_MAX: Final = 1 << 28


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """What an encoder folder holds: the graph before any pass, the parts of the plan's metadata
    that describe it, and the attachments."""

    graph: Graph
    metadata: Mapping[str, Any]
    attachments: Mapping[str, bytes]


def load_encoder(folder: Path, name: str) -> Encoder:
    """Raises `ModelNotFound` where there is no folder, `UnsupportedModel` for what is not known."""
    sentence = read_sentence_model(folder)
    config = parse_config(read_json(folder / sentence.path(CONFIG)))
    tokenizer = _read_tokenizer(
        folder / sentence.path(TOKENIZER), config.vocabulary, sentence.lower_case
    )
    weights = WeightFile(folder / sentence.path(WEIGHTS))
    graph = _Importer(config, sentence, weights, name).run()
    tokens_max = _tokens_max(folder, sentence, config)
    return Encoder(graph, _metadata(config, sentence, tokens_max), {TOKENIZER: tokenizer})


def _tokens_max(folder: Path, sentence: SentenceModel, config: EncoderConfig) -> int:
    """`max_seq_length`, else the smaller of `model_max_length` and the positions; never more than
    the position table can number."""
    if sentence.max_seq_length is not None:
        return min(sentence.max_seq_length, config.position_count)
    path = folder / sentence.path(TOKENIZER_CONFIG)
    if not path.is_file():
        return config.position_count
    settings = read_json(path)
    # A tokenizer without a limit is published with 1e30.
    length = settings.get("model_max_length", float, float(config.position_count))
    if not length >= 1:
        raise refuse(settings.where("model_max_length"), "at least 1", length)
    return int(min(length, config.position_count))


def _read_tokenizer(path: Path, vocabulary: int, lower_case: bool) -> bytes:
    """The file as it is, unless the model wants lower-cased texts and the tokenizer does not do
    that yet: then with a normalizer for it put first, as sentence-transformers does."""
    data = read_bytes(path, _TOKENIZER_BYTES_MAX)
    document = _check_vocabulary(path, data, vocabulary)
    normalizer = document.get("normalizer")
    steps = [normalizer] if isinstance(normalizer, dict) else []
    if steps and steps[0].get("type") == "Sequence":
        steps = list(steps[0].get("normalizers") or ())
    lowers = any(isinstance(step, dict) and step.get("type") == "Lowercase" for step in steps)
    if not lower_case or lowers:
        return data
    steps.insert(0, {"type": "Lowercase"})
    document["normalizer"] = {"type": "Sequence", "normalizers": steps}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _check_vocabulary(path: Path, tokenizer: bytes, vocabulary: int) -> dict[str, Any]:
    """The parsed tokenizer. No id that it can make may lie beyond the word table."""
    try:
        document: dict[str, Any] = json.loads(tokenizer)
        words = document["model"]["vocab"]
        ids = [len(words) - 1] if isinstance(words, list) else list(words.values())
        ids += [token["id"] for token in document.get("added_tokens") or ()]
        largest = max(map(operator.index, ids))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise refuse(str(path), "a tokenizers file with a vocabulary", repr(error)[:80]) from None
    if largest >= vocabulary:
        raise refuse(str(path), f"ids below vocab_size ({vocabulary})", largest)
    return document


def _metadata(config: EncoderConfig, sentence: SentenceModel, tokens_max: int) -> dict[str, Any]:
    return {
        "kind": "text_encoder",
        "limits": {"tokens_max": tokens_max, "positions_max": config.position_count},
        "encoder": {
            "architecture": config.model_type,
            "hidden_size": config.hidden,
            "layers": config.layers,
            "heads": config.heads,
            "intermediate_size": config.intermediate,
            "vocabulary_size": config.vocabulary,
            "type_vocabulary_size": config.types,
            "activation": config.activation.name.lower(),
            "pooling": sentence.pooling.name.lower(),
            "pooling_basis": sentence.pooling_basis,
            "normalized": sentence.normalize,
        },
        "text": {"tokenizer": TOKENIZER},
    }


class _Importer:
    """Builds the graph, taking each weight from the file as it goes."""

    def __init__(
        self, config: EncoderConfig, sentence: SentenceModel, weights: WeightFile, name: str
    ) -> None:
        self._config = config
        self._sentence = sentence
        self._weights = weights
        self._builder = GraphBuilder(name)
        self._prefix = self._find_prefix()
        self._taken: set[str] = set()

    def run(self) -> Graph:
        x = self._embeddings()
        for layer in range(self._config.layers):
            x = self._layer(self._config.family.layer.prefix.format(layer), x)
        self._refuse_leftovers()
        rows = self._builder.pool(x, self._sentence.pooling)
        if self._sentence.normalize:
            self._builder.label("pooled", rows)
            rows = self._builder.normalize(rows)
        self._builder.output("embedding", rows)
        return self._builder.build()

    def _find_prefix(self) -> str:
        word_table = "embeddings.word_embeddings.weight"
        for prefix in self._config.family.prefixes:
            if prefix + word_table in self._weights.names:
                return prefix
        expected = " or ".join(repr(p + word_table) for p in self._config.family.prefixes)
        raise refuse(str(self._weights.path), f"a tensor {expected}", "none", field=word_table)

    def _embeddings(self) -> str:
        config, builder = self._config, self._builder
        ids = builder.input("input_ids", (TOKENS,), "INT32")
        table = "embeddings.{}_embeddings.weight"
        words = self._weight(table.format("word"), (config.vocabulary, config.hidden))
        positions = self._weight(table.format("position"), (config.positions, config.hidden))
        types = type_ids = None
        if config.types > 0:
            type_ids = builder.input("token_type_ids", (TOKENS,), "INT32")
            types = self._weight(table.format("token_type"), (config.types, config.hidden))
        x = builder.embedding(
            ids,
            words,
            positions=positions,
            types=types,
            type_ids=type_ids,
            first_position=config.first_position,
        )
        return self._layer_norm(builder.label("embeddings", x), "embeddings.LayerNorm")

    def _layer(self, prefix: str, x: str) -> str:
        config, builder, names = self._config, self._builder, self._config.family.layer
        hidden = config.hidden
        q = self._linear(x, prefix + names.query, hidden, hidden)
        k = self._linear(x, prefix + names.key, hidden, hidden)
        v = self._linear(x, prefix + names.value, hidden, hidden)
        context = builder.label(prefix + "attention", builder.attention(q, k, v, config.heads))
        attended = self._linear(context, prefix + names.attention_out, hidden, hidden)
        x = builder.label(prefix + names.attention_out + ".residual", self._add(attended, x))
        x = self._layer_norm(x, prefix + names.attention_norm)
        up = self._linear(x, prefix + names.up, hidden, config.intermediate)
        active = builder.activation(up, config.activation)
        builder.label(prefix + names.up + ".activation", active)
        down = self._linear(active, prefix + names.down, config.intermediate, hidden)
        x = builder.label(prefix + names.down + ".residual", self._add(down, x))
        return self._layer_norm(x, prefix + names.out_norm)

    def _add(self, a: str, b: str) -> str:
        return self._builder.binary(a, b, Binary.ADD)

    def _linear(self, x: str, name: str, depth: int, columns: int) -> str:
        """x W^T + b: the file keeps a weight as [columns, depth]."""
        weight = self._take(name + ".weight", (columns, depth)).T
        product = self._builder.gemm(x, self._builder.weight(weight, name + ".weight"))
        total = self._add(product, self._weight(name + ".bias", (columns,)))
        return self._builder.label(name, total)

    def _layer_norm(self, x: str, name: str) -> str:
        size = (self._config.hidden,)
        # Files converted from TensorFlow checkpoints keep its names.
        gamma = self._weight(name + ".weight", size, name + ".gamma")
        beta = self._weight(name + ".bias", size, name + ".beta")
        normed = self._builder.layer_norm(x, gamma, beta, self._config.epsilon)
        return self._builder.label(name, normed)

    def _weight(self, name: str, shape: tuple[int, ...], other_name: str | None = None) -> str:
        return self._builder.weight(self._take(name, shape, other_name), name)

    def _take(
        self, name: str, shape: tuple[int, ...], other_name: str | None = None
    ) -> npt.NDArray[np.float32]:
        names = [self._prefix + n for n in (name, other_name) if n is not None]
        self._taken.update(names)
        return self._weights.take(names, shape)

    def _refuse_leftovers(self) -> None:
        """A tensor among the encoder's that the graph has no place for is another architecture, or
        a layer that config.json does not count."""
        layers = self._config.family.layer.prefix.partition(".")[0] + "."
        scopes = (self._prefix + "embeddings.", self._prefix + layers)
        buffers = ("embeddings.position_ids", "embeddings.token_type_ids")
        known = self._taken | {self._prefix + name for name in buffers}
        left = sorted(n for n in self._weights.names if n.startswith(scopes) and n not in known)
        if left:
            raise refuse(
                str(self._weights.path),
                f"the tensors of a {self._config.model_type} of {self._config.layers} layers",
                f"also {left[0]!r}" + (f" and {len(left) - 1} more" if len(left) > 1 else ""),
                field=left[0],
            )
