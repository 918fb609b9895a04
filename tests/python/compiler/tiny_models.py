"""Tiny encoder folders with random weights, one per family, made without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

VOCABULARY = 40
HIDDEN = 24
LAYERS = 2
HEADS = 3
INTERMEDIATE = 40
POSITIONS = 20

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "world", "a", "real", "sentence", "."]

_BERT_PARTS = {
    "attention.self.query": (HIDDEN, HIDDEN),
    "attention.self.key": (HIDDEN, HIDDEN),
    "attention.self.value": (HIDDEN, HIDDEN),
    "attention.output.dense": (HIDDEN, HIDDEN),
    "attention.output.LayerNorm": (HIDDEN,),
    "intermediate.dense": (INTERMEDIATE, HIDDEN),
    "output.dense": (HIDDEN, INTERMEDIATE),
    "output.LayerNorm": (HIDDEN,),
}
_DISTILBERT_PARTS = {
    "attention.q_lin": (HIDDEN, HIDDEN),
    "attention.k_lin": (HIDDEN, HIDDEN),
    "attention.v_lin": (HIDDEN, HIDDEN),
    "attention.out_lin": (HIDDEN, HIDDEN),
    "sa_layer_norm": (HIDDEN,),
    "ffn.lin1": (INTERMEDIATE, HIDDEN),
    "ffn.lin2": (HIDDEN, INTERMEDIATE),
    "output_layer_norm": (HIDDEN,),
}

#: model_type -> (prefix of a model saved with a head, token types)
FAMILIES = {
    "bert": ("bert.", 2),
    "roberta": ("roberta.", 1),
    "xlm-roberta": ("roberta.", 1),
    "camembert": ("roberta.", 1),
    "electra": ("electra.", 2),
    "distilbert": ("distilbert.", 0),
}


def config_of(model_type: str) -> dict[str, Any]:
    """A config.json as `transformers` writes it, as far as it matters."""
    if model_type == "distilbert":
        return {
            "model_type": model_type,
            "vocab_size": VOCABULARY,
            "dim": HIDDEN,
            "n_layers": LAYERS,
            "n_heads": HEADS,
            "hidden_dim": INTERMEDIATE,
            "activation": "gelu",
            "max_position_embeddings": POSITIONS,
            "pad_token_id": 0,
            "sinusoidal_pos_embds": False,
        }
    config = {
        "model_type": model_type,
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INTERMEDIATE,
        "hidden_act": "gelu",
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": FAMILIES[model_type][1],
        "layer_norm_eps": 1e-5 if "roberta" in model_type else 1e-12,
        "pad_token_id": 1 if FAMILIES[model_type][0] == "roberta." else 0,
    }
    if model_type == "electra":
        config["embedding_size"] = HIDDEN
    return config


def weights_of(model_type: str, seed: int = 1) -> dict[str, npt.NDArray[np.float32]]:
    """Weights of the size that makes activations neither vanish nor saturate."""
    random = np.random.default_rng(seed)

    def make(*shape: int) -> npt.NDArray[np.float32]:
        return random.normal(0.0, 0.3, shape).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": make(VOCABULARY, HIDDEN),
        "embeddings.position_embeddings.weight": make(POSITIONS, HIDDEN),
    }
    types = FAMILIES[model_type][1]
    if types:
        weights["embeddings.token_type_embeddings.weight"] = make(types, HIDDEN)
    distil = model_type == "distilbert"
    parts = _DISTILBERT_PARTS if distil else _BERT_PARTS
    layer = "transformer.layer." if distil else "encoder.layer."
    shapes: dict[str, tuple[int, ...]] = {"embeddings.LayerNorm": (HIDDEN,)}
    shapes |= {f"{layer}{i}.{part}": s for i in range(LAYERS) for part, s in parts.items()}
    for name, shape in shapes.items():
        weights[name + ".weight"] = make(*shape) + np.float32(len(shape) == 1)
        weights[name + ".bias"] = make(shape[0])
    return weights


@dataclass
class TinyModel:
    """What a folder is made of; change it, then `write` it."""

    model_type: str = "bert"
    config: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    #: Relative path -> JSON document.
    files: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = {**config_of(self.model_type), **self.config}
        self.weights = self.weights or dict(weights_of(self.model_type))

    def sentence(self, pooling: str = "mean_tokens", normalize: bool = True) -> TinyModel:
        """Adds the files of sentence-transformers."""
        kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
        paths = ["", "1_Pooling", "2_Normalize"]
        self.files["modules.json"] = [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(zip(kinds, paths, strict=False))
        ]
        modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
        self.files["1_Pooling/config.json"] = {
            "word_embedding_dimension": HIDDEN,
            **{f"pooling_mode_{mode}": mode == pooling for mode in modes},
        }
        return self

    def write(self, folder: Path) -> Path:
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config))
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer_document()))
        contiguous = {name: np.ascontiguousarray(w) for name, w in self.weights.items()}
        save_file(contiguous, folder / "model.safetensors")
        for name, document in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps(document))
        return folder


def tokenizer_document() -> dict[str, Any]:
    """A WordPiece tokenizer.json over `WORDS`."""
    specials = [
        {
            "id": i,
            "content": WORDS[i],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i in range(4)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": specials,
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing",
            "sep": ["[SEP]", 3],
            "cls": ["[CLS]", 2],
        },
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {word: i for i, word in enumerate(WORDS)},
        },
    }
