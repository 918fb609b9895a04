"""Inputs of a text encoder: texts, or token ids with an optional mask and token types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton._specs import TensorSpec
from pelton.backends._arrays import as_array, check_shape, dtype_name, wrong
from pelton.backends._ragged import check_ids, check_lengths, lengths_of, take_tokens
from pelton.backends._requests import Prepared, check_names
from pelton.backends.types import Array, InferOptions, InputValue, RaggedIds
from pelton.bridge import EncoderContract, Plan
from pelton.bridge.word_piece import WordPiece
from pelton.errors import InvalidInput, UnsupportedPlan
from pelton.text import TextTokenizer

__all__ = ["EncoderInputs", "encoder_specs", "metadata_limit"]

TEXT: Final = "text"
IDS: Final = "input_ids"
MASK: Final = "attention_mask"
TYPES: Final = "token_type_ids"


class EncoderInputs:
    """Checks and tokenizes inputs of a ragged plan that takes token ids.

    Limits come from the plan's metadata: the tokens of a row, the ids and the token types that its
    tables have rows for. `word_piece` is what `tokenizer` encodes with, where that is native.
    """

    def __init__(
        self,
        plan: Plan,
        tokenizer: TextTokenizer | None,
        *,
        word_piece: WordPiece | None = None,
        truncate: bool,
    ) -> None:
        self.specs, self.alternatives = encoder_specs(plan)
        self._order = [tensor.name for tensor in plan.inputs]
        self._positions_max = metadata_limit(plan, "limits", "positions_max")
        self._vocabulary_size = metadata_limit(plan, "encoder", "vocabulary_size")
        self._token_types = 1
        if TYPES in self._order:
            self._token_types = metadata_limit(plan, "encoder", "type_vocabulary_size")
        self._tokenizer = tokenizer
        self._word_piece = word_piece
        self._truncate = truncate

    def contract(self) -> EncoderContract:
        """The same limits for the native request path."""
        tokenizer = self._tokenizer
        return EncoderContract(
            positions_max=self._positions_max,
            vocabulary_size=self._vocabulary_size,
            token_types=self._token_types,
            ids_index=self._order.index(IDS),
            types_index=self._order.index(TYPES) if TYPES in self._order else -1,
            tokenizer=None if self._word_piece is None else self._word_piece.native,
            tokens_max=0 if tokenizer is None else tokenizer.tokens_max,
            text_bytes_max=0 if tokenizer is None else tokenizer.text_bytes_max,
            truncate=self._truncate,
        )

    def texts_of(self, inputs: Mapping[str, InputValue]) -> list[str] | None:
        """The checked texts of a request, or None where it brings token ids."""
        if self._tokenizer is None or TEXT not in inputs:
            return None
        check_names(inputs, self.specs)
        return self._tokenizer.check(_flat_texts(inputs[TEXT]), TEXT)

    def is_quick(self, texts: Sequence[str]) -> bool:
        """Whether tokenizing them need not leave the event loop."""
        assert self._tokenizer is not None
        return self._tokenizer.is_quick(texts)

    def tokenize(self, texts: Sequence[str], options: InferOptions) -> Prepared:
        """The slow part of a request with texts; releases the GIL."""
        assert self._tokenizer is not None
        truncate = self._truncate if options.truncate is None else options.truncate
        tokens = self._tokenizer.encode(texts, truncate=truncate, tensor=TEXT)
        return self._pack(tokens.ids, tokens.lengths, None, tokens.truncated)

    def prepare(self, inputs: Mapping[str, InputValue], options: InferOptions) -> Prepared:
        """A request with token ids."""
        if IDS not in inputs:
            check_names(inputs, self.specs)
        for name in inputs:
            if name not in (IDS, MASK, TYPES):
                expected = f"{IDS}, {MASK}, {TYPES}"
                raise InvalidInput(
                    f"input {name!r}: it cannot come with {IDS}; those that can are {MASK}, {TYPES}"
                    if name == TEXT
                    else f"input {name!r}: the model has no such input; its inputs are {expected}",
                    tensor=name,
                    expected=expected,
                    got=name,
                )
        if isinstance(inputs[IDS], RaggedIds):
            return self._prepare_ragged(inputs[IDS])
        ids = _matrix(inputs[IDS], IDS, options)
        mask = _matrix(inputs[MASK], MASK, options) if MASK in inputs else None
        lengths = lengths_of(ids, mask)
        check_lengths(lengths, self._positions_max, IDS if mask is None else MASK)
        flat = check_ids(take_tokens(ids, lengths), lengths, self._vocabulary_size, IDS)
        types = None
        if TYPES in inputs:
            padded = _matrix(inputs[TYPES], TYPES, options)
            if padded.shape != ids.shape:
                raise wrong(TYPES, f"shape {list(ids.shape)}", str(list(padded.shape)))
            types = check_ids(take_tokens(padded, lengths), lengths, self._token_types, TYPES)
        return self._pack(flat, lengths, types, 0)

    def _prepare_ragged(self, given: RaggedIds) -> Prepared:
        check_lengths(given.lengths, self._positions_max, IDS)
        ids = check_ids(given.ids, given.lengths, self._vocabulary_size, IDS)
        return self._pack(ids, given.lengths, None, 0)

    def _pack(
        self,
        ids: npt.NDArray[np.int32],
        lengths: npt.NDArray[np.int32],
        types: npt.NDArray[np.int32] | None,
        truncated: int,
    ) -> Prepared:
        """Types that are all 0 are what a plan without that input computes, so they are dropped
        there; a plan with it always gets some."""
        by_name: dict[str, Array] = {IDS: ids}
        if TYPES in self._order:
            by_name[TYPES] = np.zeros_like(ids) if types is None else types
        arrays = [by_name[name] for name in self._order]
        return Prepared(arrays=arrays, rows=len(lengths), lengths=lengths, truncated=truncated)


Specs = tuple[TensorSpec, ...]


def encoder_specs(plan: Plan) -> tuple[Specs, Specs]:
    """The inputs of a text encoder's plan, and those that may come instead. Raises
    `UnsupportedPlan` for a ragged plan that is none."""
    order = [tensor.name for tensor in plan.inputs]
    if IDS not in order or not {IDS, TYPES}.issuperset(order):
        raise UnsupportedPlan(
            f"{plan.path}: expected the inputs {IDS} and perhaps {TYPES}, got {', '.join(order)}"
        )
    names = (IDS, MASK, TYPES) if TYPES in order else (IDS, MASK)
    padded = tuple(TensorSpec(name, "INT64", (-1, -1)) for name in names)
    if not isinstance(plan.metadata.get("text"), dict):  # no tokenizer in it
        return padded, ()
    return (TensorSpec(TEXT, "BYTES", (-1,)),), padded


def metadata_limit(plan: Plan, section: str, name: str) -> int:
    """A positive number of the plan's metadata; `UnsupportedPlan` where there is none."""
    members = plan.metadata.get(section)
    value = members.get(name) if isinstance(members, dict) else None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
        raise UnsupportedPlan(
            f"{plan.path}: expected a number above 0 as {section}.{name} of its metadata, "
            f"got {value!r}"
        )
    return value


def _flat_texts(value: Any) -> Sequence[str | bytes]:
    if isinstance(value, (str, bytes)):
        raise wrong(TEXT, "a list of texts", "one text")
    if isinstance(value, np.ndarray):
        if value.ndim != 1 or value.dtype.kind not in "SUO":
            raise wrong(TEXT, "texts of shape [-1]", f"{dtype_name(value)} {list(value.shape)}")
        flat: list[str | bytes] = value.tolist()
        return flat
    if not isinstance(value, (list, tuple)):
        raise wrong(TEXT, "a list of texts", type(value).__name__)
    return value


def _matrix(value: InputValue, name: str, options: InferOptions) -> Array:
    """Ids, mask or types of rank 2, as INT32 where they are that already, else INT64."""
    dtype = "INT32" if isinstance(value, np.ndarray) and value.dtype == np.int32 else "INT64"
    if options.exact_dtypes and isinstance(value, np.ndarray) and dtype_name(value) != dtype:
        raise wrong(name, "datatype INT64 or INT32", dtype_name(value))
    array = as_array(value, name, dtype, exact=False)
    check_shape(array, name, (-1, -1))
    return array
