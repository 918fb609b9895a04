"""`TextTokenizer`: a batch of texts to the ragged int32 ids that the engine takes.

A tokenizer.json may carry padding and truncation of its own (that of all-MiniLM-L6-v2 pads and cuts
to 128 in silence, while the model's limit is 256), so both are switched off here: what is cut is
cut on request only, and counted.

What encodes is the `tokenizers` package, or what the caller brings in its place: the native
tokenizer, which this package does not know. Only the former costs an import.

Thread-safe: the tokenizer underneath is never changed after construction, and its encode calls
release the GIL.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pelton.errors import CorruptPlan, InvalidInput, PayloadTooLarge

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

__all__ = ["BatchEncoder", "TextTokenizer", "Tokenization"]

_SHOWN_ROWS_MAX: Final = 5
_TOKENS_MAX: Final = 2**31 - 1
# So many characters take the native tokenizer less time than a hop to a thread and back.
_QUICK_CHARACTERS_MAX: Final = 4096

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


class Tokenization(NamedTuple):
    """The ids of n texts without padding: those of text i are the next `lengths[i]` of `ids`.

    `ids` is int32 [sum of lengths], `lengths` int32 [n], special tokens included; `truncated` is
    the number of texts that were cut to the limit.
    """

    ids: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    truncated: int

    @property
    def token_count(self) -> int:
        return len(self.ids)


class BatchEncoder(Protocol):
    """Texts to ids, special tokens included. Thread-safe."""

    @property
    def special_count(self) -> int:
        """Ids that every text gets."""
        ...

    @property
    def vocabulary_size(self) -> int: ...

    def encode_batch(self, texts: Sequence[str], tokens_max: int) -> tuple[Int32s, Int32s, Int64s]:
        """The ids of all texts, how many of each, how many it had uncut: a text of more than
        `tokens_max` is cut to that, its special tokens kept."""
        ...


def _load(tokenizer_json: bytes) -> Tokenizer:
    # Encoding in the library's own thread pool would compete with the engine's team, and forking
    # after its use prints warnings; a user's own choice stays.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_buffer(tokenizer_json)
    except Exception as error:  # the library raises bare Exception for what it cannot read
        raise CorruptPlan(f"the tokenizer cannot be read: {error}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


class _PackageEncoder:
    """The `tokenizers` package as a `BatchEncoder`."""

    def __init__(self, tokenizer_json: bytes) -> None:
        self._tokenizer = _load(tokenizer_json)
        self.special_count: int = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self.vocabulary_size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)

    def encode_batch(self, texts: Sequence[str], tokens_max: int) -> tuple[Int32s, Int32s, Int64s]:
        encodings: list[Encoding] = self._tokenizer.encode_batch_fast(list(texts))
        uncut = np.fromiter(map(len, encodings), np.int64, len(encodings))
        for row in np.flatnonzero(uncut > tokens_max).tolist():
            encodings[row] = self._cut(texts[row], tokens_max)
        lengths = np.minimum(uncut, tokens_max).astype(np.int32)
        # One pass in C over the ids; a copy per text, none per token.
        token_count = int(lengths.sum(dtype=np.int64))
        ids = np.fromiter(
            chain.from_iterable(encoding.ids for encoding in encodings), np.int32, token_count
        )
        return ids, lengths, uncut

    def _cut(self, text: str, tokens_max: int) -> Encoding:
        """The first tokens of `text` with the special tokens around them, `tokens_max` in all."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        encoding.truncate(tokens_max - self.special_count)
        return self._tokenizer.post_process(encoding)


def _rows(rows: Sequence[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:_SHOWN_ROWS_MAX])
    return shown + (", …" if len(rows) > _SHOWN_ROWS_MAX else "")


class TextTokenizer:
    """One model's tokenizer. `tokens_max` is the model's limit per text, special tokens included;
    texts over `text_bytes_max` bytes of UTF-8 are refused before any work is spent on them.
    `native`, where there is one, stands in for the `tokenizers` package."""

    def __init__(
        self,
        tokenizer_json: bytes,
        *,
        tokens_max: int,
        text_bytes_max: int,
        native: BatchEncoder | None = None,
    ) -> None:
        self._encoder = _PackageEncoder(tokenizer_json) if native is None else native
        self._is_native = native is not None
        self.tokens_max = tokens_max
        self.text_bytes_max = text_bytes_max
        special_count = self._encoder.special_count
        if tokens_max <= special_count:
            raise CorruptPlan(
                f"the tokenizer adds {special_count} special tokens, which leaves no room in "
                f"the model's limit of {tokens_max}"
            )

    @property
    def vocabulary_size(self) -> int:
        """Ids are below this, added tokens included."""
        return self._encoder.vocabulary_size

    def is_quick(self, texts: Sequence[str]) -> bool:
        """Whether `encode` takes these texts in less than 100 us or so, which an event loop can
        spare."""
        return self._is_native and sum(map(len, texts)) <= _QUICK_CHARACTERS_MAX

    def check(self, texts: Sequence[str | bytes], tensor: str = "text") -> list[str]:
        """The texts as strings that can be tokenized. Raises `InvalidInput` for one that is not
        UTF-8 or holds a NUL, `PayloadTooLarge` for one over `text_bytes_max`; the error names
        `tensor` and the row."""
        return [self._check_one(text, tensor, row) for row, text in enumerate(texts)]

    def _check_one(self, text: str | bytes, tensor: str, row: int) -> str:
        if isinstance(text, str) and text.isascii():
            byte_count, decoded = len(text), text
        elif isinstance(text, (str, bytes, bytearray, memoryview)):
            byte_count, decoded = self._check_encoding(text, tensor, row)
        else:
            raise InvalidInput(
                f"{tensor}[{row}]: expected a text, got {type(text).__name__}",
                tensor=tensor,
                field=f"{tensor}[{row}]",
                expected="a text",
                got=type(text).__name__,
            )
        if byte_count > self.text_bytes_max:
            raise self._too_large(byte_count, tensor, row)
        if "\0" in decoded:
            at = decoded.index("\0")
            raise InvalidInput(
                f"{tensor}[{row}]: expected a text without NUL, got one at character {at}",
                tensor=tensor,
                field=f"{tensor}[{row}]",
                expected="a text without NUL",
                got=f"NUL at character {at}",
            )
        return decoded

    def _check_encoding(self, text: str | bytes, tensor: str, row: int) -> tuple[int, str]:
        """The UTF-8 length and the string; bounded before a large text is decoded."""
        if len(text) > self.text_bytes_max:
            raise self._too_large(len(text), tensor, row)
        try:
            if isinstance(text, str):
                return len(text.encode()), text
            return len(text), str(text, "utf-8")
        except UnicodeError as error:
            at = getattr(error, "start", 0)
            unit = "character" if isinstance(text, str) else "byte"
            raise InvalidInput(
                f"{tensor}[{row}]: expected UTF-8, got something else at {unit} {at}",
                tensor=tensor,
                field=f"{tensor}[{row}]",
                expected="UTF-8",
                got=f"an invalid sequence at {unit} {at}",
            ) from None

    def _too_large(self, byte_count: int, tensor: str, row: int) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"{tensor}[{row}]: expected a text of at most {self.text_bytes_max} bytes, "
            f"got {byte_count} or more",
            tensor=tensor,
            field=f"{tensor}[{row}]",
            expected=f"at most {self.text_bytes_max} bytes",
            got=f"{byte_count} bytes or more",
        )

    def encode(
        self, texts: Sequence[str], *, truncate: bool = False, tensor: str = "text"
    ) -> Tokenization:
        """Tokenize texts that `check` has passed.

        A text of more than `tokens_max` tokens is cut to that, its special tokens kept, where
        `truncate` says so; else `InvalidInput` names it and both lengths.
        """
        limit = self.tokens_max if truncate else _TOKENS_MAX
        ids, lengths, uncut = self._encoder.encode_batch(texts, limit)
        over = np.flatnonzero(uncut > self.tokens_max)
        if len(over) and not truncate:
            raise self._too_many_tokens(over.tolist(), uncut, tensor)
        return Tokenization(ids, lengths, len(over))

    def _too_many_tokens(self, rows: Sequence[int], lengths: Int64s, tensor: str) -> InvalidInput:
        first = rows[0]
        others = f" (rows over the limit: {_rows(rows)})" if len(rows) > 1 else ""
        return InvalidInput(
            f"{tensor}[{first}]: expected at most {self.tokens_max} tokens, got {lengths[first]}"
            f'{others}; send "truncate": true to have long texts cut',
            tensor=tensor,
            field=f"{tensor}[{first}]",
            expected=f"at most {self.tokens_max} tokens",
            got=f"{lengths[first]} tokens",
        )
