"""Texts to token ids: the `tokenizers` library with Pelton's limits and usage counts around it."""

from __future__ import annotations

from pelton.text.tokenizer import TextTokenizer, Tokenization
from pelton.text.workers import tokenize_in_worker

__all__ = ["TextTokenizer", "Tokenization", "tokenize_in_worker"]
