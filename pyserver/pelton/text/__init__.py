"""Texts to token ids, with Pelton's limits and usage counts around what tokenizes."""

from __future__ import annotations

from pelton.text.tokenizer import BatchEncoder, TextTokenizer, Tokenization
from pelton.text.workers import tokenize_in_worker

__all__ = ["BatchEncoder", "TextTokenizer", "Tokenization", "tokenize_in_worker"]
