"""The native engine as a backend: a plan, loaded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from pelton._specs import TensorSpec
from pelton.backends._dense import DenseInputs, dense_specs
from pelton.backends._encoder import EncoderInputs, encoder_specs, metadata_limit
from pelton.backends._requests import Prepared, check_outputs, cut_rows
from pelton.backends.types import (
    NUMPY_DTYPES,
    Array,
    Inference,
    InferOptions,
    InputValue,
)
from pelton.bridge import (
    LoadOptions,
    Plan,
    ServedContract,
    Submission,
    kernel_variants,
    shared_engine,
)
from pelton.bridge.word_piece import WordPiece, read_word_piece
from pelton.errors import DeadlineExceeded, UnsupportedPlan
from pelton.metrics import EngineSnapshot
from pelton.settings import Settings
from pelton.text import TextTokenizer, tokenize_in_worker

__all__ = ["NativeBackend", "input_specs"]

_DIM_TOKENS: Final = -2
# Pieces of one large request that are with the engine at a time: one runs, one waits, and the rest
# of the queue is left to the other callers.
_PIECES_IN_FLIGHT: Final = 2
# The attachment with the names of a classifier's classes, one a line.
_LABELS: Final = "labels.txt"


class NativeBackend:
    """One plan on the process's engine. Thread-safe. `truncate` says what becomes of texts over the
    model's limit when a request does not; `allow_non_finite`, whether a dense model takes NaN and
    infinities."""

    platform = "pelton_plan"

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        *,
        truncate: bool = False,
        allow_non_finite: bool = False,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._encoder: EncoderInputs | None = None
        if plan.ragged:
            tokenizer, word_piece = _tokenizer_of(plan, settings)
            self._encoder = EncoderInputs(plan, tokenizer, word_piece=word_piece, truncate=truncate)
        self._inputs: DenseInputs | EncoderInputs = self._encoder or DenseInputs(
            plan, allow_non_finite=allow_non_finite
        )
        self._allow_non_finite = allow_non_finite
        for tensor in plan.outputs:
            if tensor.shape[0] == _DIM_TOKENS or tensor.dtype not in NUMPY_DTYPES:
                raise UnsupportedPlan(
                    f"{plan.path}: output {tensor.name!r} of {tensor.dtype} "
                    f"{list(tensor.shape)} is not one entry per row"
                )
        self.outputs = tuple(TensorSpec(t.name, t.dtype, t.shape) for t in plan.outputs)
        self.labels = _labels_of(plan)
        self._output_names = [spec.name for spec in self.outputs]
        self._engine = shared_engine(
            threads=settings.threads, queue_requests_max=settings.queue_requests_max
        )
        self._rows_max = min(settings.batch_rows_max, settings.queue_rows_max)
        self._tokens_max = settings.batch_tokens_max
        self._loaded = self._engine.load(
            plan,
            LoadOptions(
                threads=settings.threads,
                batch_rows_max=self._rows_max,
                batch_tokens_max=self._tokens_max,
                batch_wait_us_max=settings.batch_wait_us_max,
                queue_rows_max=settings.queue_rows_max,
            ),
        )

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._inputs.specs

    @property
    def alternative_inputs(self) -> tuple[TensorSpec, ...]:
        return self._inputs.alternatives

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self._plan.metadata

    def served_contract(self) -> ServedContract:
        """What the native request path needs to serve this model."""
        return ServedContract(
            loaded=self._loaded,
            inputs=self.inputs,
            alternatives=self.alternative_inputs,
            outputs=self.outputs,
            encoder=None if self._encoder is None else self._encoder.contract(),
            limits={
                "body_bytes_max": self._settings.body_bytes_max,
                "queue_rows_max": self._settings.queue_rows_max,
                "batch_rows_max": self._rows_max,
                "batch_tokens_max": self._tokens_max,
                "pieces_in_flight_max": _PIECES_IN_FLIGHT,
            },
            allow_non_finite=self._allow_non_finite,
        )

    def run(self, inputs: Mapping[str, InputValue], options: InferOptions) -> Inference:
        encoder = self._encoder
        if encoder is not None and (texts := encoder.texts_of(inputs)) is not None:
            prepared = encoder.tokenize(texts, options)
        else:
            prepared = self._inputs.prepare(inputs, options)
        outputs = self._allocate(prepared.rows, options.outputs)
        for submission in self._submissions(prepared, outputs, options):
            self._loaded.run(submission)
        return self._answer(prepared, outputs, options)

    async def infer(self, inputs: Mapping[str, InputValue], options: InferOptions) -> Inference:
        encoder = self._encoder
        if encoder is not None and (texts := encoder.texts_of(inputs)) is not None:
            if encoder.is_quick(texts):
                prepared = encoder.tokenize(texts, options)
            else:
                prepared = await tokenize_in_worker(
                    encoder.tokenize, texts, options, threads=self._settings.threads
                )
        else:
            prepared = self._inputs.prepare(inputs, options)
        outputs = self._allocate(prepared.rows, options.outputs)
        if time.monotonic_ns() >= options.deadline_ns:
            raise DeadlineExceeded("the deadline passed before the request was queued")
        submissions = self._submissions(prepared, outputs, options)
        if prepared.rows <= self._rows_max and prepared.token_count <= self._tokens_max:
            for submission in submissions:
                await self._loaded.infer(submission)
        else:
            await self._infer_pieces(submissions)
        return self._answer(prepared, outputs, options)

    async def _infer_pieces(self, submissions: Iterator[Submission]) -> None:
        async def lane() -> None:
            for submission in submissions:
                await self._loaded.infer(submission)

        lanes = [asyncio.ensure_future(lane()) for _ in range(_PIECES_IN_FLIGHT)]
        try:
            await asyncio.gather(*lanes)
        except BaseException:
            for task in lanes:
                task.cancel()
            # Also those that a first failure left running: nothing of the request outlives it.
            await asyncio.gather(*lanes, return_exceptions=True)
            raise

    def _allocate(self, rows: int, wanted: Sequence[str] | None) -> list[Array | None]:
        """Arrays that the engine writes into directly, in the plan's order."""
        check_outputs(self._output_names if wanted is None else wanted, self._output_names)
        return [
            np.empty((rows, *spec.shape[1:]), NUMPY_DTYPES[spec.dtype])
            if wanted is None or spec.name in wanted
            else None
            for spec in self.outputs
        ]

    def _submissions(
        self, prepared: Prepared, outputs: Sequence[Array | None], options: InferOptions
    ) -> Iterator[Submission]:
        """The request in pieces of at most a batch; one of no rows has none."""
        for rows, tokens in cut_rows(prepared, self._rows_max, self._tokens_max):
            lengths = prepared.lengths
            yield Submission(
                inputs=[array[tokens] for array in prepared.arrays],
                outputs=[None if array is None else array[rows] for array in outputs],
                rows=rows.stop - rows.start,
                lengths=None if lengths is None else lengths[rows],
                priority=options.priority,
                deadline_ns=options.deadline_ns,
            )

    def _answer(
        self, prepared: Prepared, outputs: Sequence[Array | None], options: InferOptions
    ) -> Inference:
        by_name = dict(zip(self._output_names, outputs, strict=True))
        order = self._output_names if options.outputs is None else options.outputs
        return Inference(
            outputs={name: array for name in order if (array := by_name[name]) is not None},
            truncated=prepared.truncated,
            token_count=prepared.token_count,
        )

    def stats(self) -> dict[str, Any]:
        return {
            **self._loaded.stats(),
            "threads": self._engine.threads,
            "weight_bytes": self._plan.weight_bytes,
            "kernel_variants": kernel_variants(),
        }

    def snapshot(self) -> EngineSnapshot:
        return self._loaded.snapshot()

    def close(self) -> None:
        self._loaded.close()


def input_specs(plan: Plan) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The inputs of a plan, and those that may come in their place."""
    return encoder_specs(plan) if plan.ragged else (dense_specs(plan), ())


def _labels_of(plan: Plan) -> tuple[str, ...]:
    if _LABELS not in plan.attachments:
        return ()
    return tuple(plan.attachment(_LABELS).decode(errors="replace").splitlines())


def _tokenizer_of(plan: Plan, settings: Settings) -> tuple[TextTokenizer | None, WordPiece | None]:
    """No tokenizer for a plan that takes token ids only; a native one within it where it can be."""
    text = plan.metadata.get("text")
    if not isinstance(text, dict):
        return None, None
    tokenizer_json = plan.attachment(str(text.get("tokenizer")))
    word_piece = read_word_piece(tokenizer_json)
    tokenizer = TextTokenizer(
        tokenizer_json,
        tokens_max=metadata_limit(plan, "limits", "tokens_max"),
        text_bytes_max=settings.text_bytes_max,
        native=word_piece,
    )
    return tokenizer, word_piece
