"""The native engine (csrc/bindings). Only pelton.bridge imports it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

class NativeError(Exception):
    """A failed native call. `code` is the number of csrc/base/status.h's StatusCode, str() the
    message."""

    code: int

class NativeProblem(Exception):
    """A refused request. `code` is the slug of a leaf of pelton.errors, `details` are its details,
    str() is its message."""

    code: str
    details: dict[str, Any]

def problem_statuses() -> list[tuple[int, int, str, str]]:
    """(kind, HTTP status, slug, title) of every kind of problem."""

# The codecs of csrc/wire, as tests hold them against pelton.codec. They raise NativeProblem. Limits
# are those of pelton.codec.DecodeLimits by name, and `embedding_items_max`, `embedding_tokens_max`;
# specs are TensorSpecs; tensors are (name, datatype, shape, data), data as bytes or list of bytes.
def decode_msgpack(
    body: bytes, limits: Mapping[str, int], specs: Sequence[tuple[str, str, Sequence[int]]]
) -> dict[str, Any]: ...
def encode_msgpack(
    model_name: str,
    model_version: str,
    request_id: str | None,
    outputs: Sequence[tuple[str, str, Sequence[int], bytes | list[bytes]]],
) -> bytes: ...
def decode_embeddings(
    content_type: bytes | None, body: bytes, limits: Mapping[str, int]
) -> dict[str, Any]: ...
def encode_embeddings(
    vectors: npt.NDArray[np.float32], model: str, token_count: int, base64: bool
) -> bytes: ...
def encode_problem(
    kind: int,
    message: str,
    details: Mapping[str, str | int],
    path: bytes,
    request_id: str,
    fields: Mapping[str, bytes],
) -> tuple[str, bytes]:
    """(Content-Type, body) in the shape that the clients of `path` read."""

def retry_headers(kind: int, retry_after_ms: int | None, jitter: float) -> bytes:
    """Header lines."""

class Plan:
    """A validated plan, memory-mapped."""

    @staticmethod
    def open(path: str, verify_weights_bytes_max: int = 1 << 30) -> Plan:
        """Raises NativeError."""

    def verify_weights(self) -> None:
        """Raises NativeError."""

    @property
    def ragged(self) -> bool: ...
    @property
    def metadata(self) -> str:
        """JSON text."""

    @property
    def inputs(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Name, OIP datatype, dims (-1: rows, -2: tokens)."""

    @property
    def outputs(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Name, OIP datatype, dims (-1: rows, -2: tokens)."""

    @property
    def file_bytes(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def attachments(self) -> list[str]: ...
    def attachment(self, name: str) -> bytes:
        """Raises NativeError where there is none."""

    def instructions(self) -> list[dict[str, Any]]:
        """op, inputs, outputs (names) and attributes of each."""

class CompletionQueue:
    """Completions for one event loop. At most `capacity` requests may be submitted and not
    drained."""

    def __init__(self, capacity: int) -> None: ...
    def fileno(self) -> int:
        """An eventfd: readable when something has completed since the last drain."""

    def drain(self) -> list[tuple[object, int, str]]:
        """(token, status code, message) of each; arms the eventfd first."""

    def close(self) -> None:
        """Refuses further requests, waits until those accepted are over, drops what they hold."""

def inside_callable() -> bool:
    """Whether this thread runs a callable for an engine: it must not wait for one then."""

class Engine:
    """Models, their queue, and the threads they run on.

    `inputs` and `outputs` are C-contiguous arrays of the plan's dtypes. Dense plans: axis 0 is
    rows. Ragged plans: tensors of tokens hold sum(lengths) entries on axis 0; `lengths` is int32
    [rows], each at least 1. An output of None is not wanted. `priority`: 1 (first) to 4.
    `deadline_ns` is on the clock of time.monotonic_ns(); 2**63 - 1 is none.
    """

    def __init__(self, threads: int, queue_requests_max: int = 4096) -> None: ...
    @property
    def threads(self) -> int: ...
    def load(
        self,
        plan: Plan,
        *,
        threads: int,
        batch_rows_max: int,
        batch_tokens_max: int,
        batch_wait_us_max: int,
        queue_rows_max: int,
    ) -> int:
        """The model's id."""

    def load_callback(
        self,
        function: Callable[[list[Any]], object],
        *,
        threads: int,
        batch_rows_max: int,
        batch_wait_us_max: int,
        queue_rows_max: int,
    ) -> int:
        """The id of a model that `function` runs: called once per batch, on a thread of the engine,
        with the payloads of its requests. What it raises fails the batch, with the status code that
        the exception's `status_code` names, else as an internal error."""

    def unload(self, model: int) -> None:
        """Drains it first. Raises inside a callable."""

    def submit_payload(
        self,
        model: int,
        payload: object,
        rows: int,
        priority: int,
        deadline_ns: int,
        completions: CompletionQueue,
        token: object,
    ) -> int:
        """`submit` for a model of `load_callback`."""

    def run_payload(
        self, model: int, payload: object, rows: int, priority: int, deadline_ns: int
    ) -> None:
        """`run` for a model of `load_callback`. Raises inside a callable."""

    def submit(
        self,
        model: int,
        inputs: Sequence[npt.NDArray[Any]],
        outputs: Sequence[npt.NDArray[Any] | None],
        rows: int,
        lengths: npt.NDArray[np.int32] | None,
        priority: int,
        deadline_ns: int,
        completions: CompletionQueue,
        token: object,
    ) -> int:
        """The request's ticket. The arrays and the token are kept alive until drained. Raises
        NativeError: queue full, closed, bad sizes."""

    def run(
        self,
        model: int,
        inputs: Sequence[npt.NDArray[Any]],
        outputs: Sequence[npt.NDArray[Any] | None],
        rows: int,
        lengths: npt.NDArray[np.int32] | None,
        priority: int,
        deadline_ns: int,
    ) -> None:
        """Blocks, the GIL released."""

    def cancel(self, ticket: int) -> bool:
        """True: it will complete as cancelled."""

    def stats(self, model: int) -> dict[str, Any]:
        """Counts, and histograms as {"bounds", "counts", "total"}."""

    def drain(self, timeout_s: float) -> bool:
        """Refuses further requests, for good; whether those accepted were over in time."""

    def close(self) -> None: ...

class WordPiece:
    """The tokenizer of BERT-family encoders."""

    def __init__(
        self,
        *,
        vocabulary: Sequence[str],
        unknown_token: str,
        continuing_prefix: str,
        word_chars_max: int,
        clean_text: bool,
        handle_chinese_chars: bool,
        strip_accents: bool,
        lowercase: bool,
        added_tokens: Sequence[tuple[str, int]],
        prefix: Sequence[int],
        suffix: Sequence[int],
    ) -> None:
        """Raises NativeError."""

    @property
    def special_count(self) -> int: ...
    @property
    def vocabulary_size(self) -> int: ...
    def encode_batch(
        self, texts: Sequence[str], tokens_max: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Ids, how many of each text, how many it had uncut. The GIL is released for texts of more
        than 4 KiB in sum. Raises NativeError: tokens_max below special_count."""

def parse_json(text: bytes, limits: dict[str, int]) -> tuple[Any, bool]:
    """The value, and whether a number was written as an infinite literal. Raises NativeProblem, as
    the functions below do."""

def decode_infer(
    content_type: bytes | None,
    head_length: bytes | None,
    body: bytes,
    limits: dict[str, int],
    specs: Sequence[tuple[str, str, Sequence[int]]],
) -> dict[str, Any]:
    """The members of the request; {"is_for_python": True} where native code leaves it to Python.
    Tensors are (name, OIP datatype, shape, bytes or list of bytes)."""

def request_format(content_type: bytes | None, head_length: bytes | None) -> int:
    """0 JSON, 1 binary, 2 msgpack."""

def answer_format(
    content_type: bytes | None, accept: bytes | None, request: int
) -> tuple[int, bool, str]:
    """Such a number, whether the answer is JSON whatever outputs ask for, the media type."""

def encode_infer(
    model_name: str,
    model_version: str,
    request_id: str | None,
    outputs: Sequence[tuple[str, str, Sequence[int], bytes | list[bytes], bool]],
    non_finite_null: bool,
    form: tuple[int, bool, str],
) -> tuple[str, int, bytes]:
    """Content-Type, bytes of the JSON head (-1 where nothing is behind it), body."""

def cpu_features() -> dict[str, bool]: ...
def kernel_variants() -> dict[str, str]:
    """The variant chosen for each op."""

def xxh64(data: bytes, seed: int = 0) -> int: ...

class ServedModel:
    """A version of a model, as the request path serves it."""

    def __init__(
        self, engine: Engine, model: int, contract: dict[str, Any], limits: dict[str, int]
    ) -> None: ...
    @property
    def is_in_use(self) -> bool: ...
    def counts(self) -> dict[str, Any]:
        """`outcomes` (a count by slug), `decode_seconds` and `encode_seconds` (histograms)."""

class Front:
    """The request path of one event loop. `hooks` is a pelton.bridge.front.Front."""

    def __init__(self, hooks: Any, options: dict[str, Any]) -> None: ...
    def fileno(self) -> int: ...
    def on_ready(self) -> None: ...
    def end_turn(self) -> None: ...
    def on_timer(self) -> None: ...
    def sweep(self) -> None: ...
    def on_compressed(self, number: int, body: bytes) -> None: ...
    def set_common_fields(self, lines: bytes) -> None: ...
    def set_draining(self) -> None: ...
    def set_model(self, name: str, versions: Sequence[ServedModel]) -> None:
        """The first is that of requests that name none; without any its requests are forwarded."""

    def remove_model(self, name: str) -> None: ...
    def stats(self) -> dict[str, int]: ...
    def close(self) -> None: ...

class Connection:
    """The bytes of one client."""

    def __init__(self, front: Front) -> None: ...
    @property
    def data_received(self) -> Callable[[bytes], None]: ...
    def opened(self, transport: Any, protocol: Any, fd: int, is_plain: bool) -> None: ...
    def received_eof(self) -> bool: ...
    def lost(self) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def forwarded_answered(self, is_closing: bool) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    @property
    def is_idle(self) -> bool: ...
    @property
    def has_waiting(self) -> bool: ...

class GateRequest:
    """What the gates know of a request; times in nanoseconds."""

    def __init__(
        self,
        rows: int,
        tokens: int,
        body_bytes: int = 0,
        arrival: int = 0,
        deadline_ns: int = ...,
        priority: int = 2,
    ) -> None: ...
    @property
    def passed(self) -> int: ...
    @property
    def queue_ns(self) -> int: ...
    @property
    def run_ns(self) -> int: ...

class ModelGates:
    """The gates of one model, for replays. Not thread-safe, but for `counters` and `snapshot`."""

    def __init__(self, **limits: int) -> None: ...
    def before(self, request: GateRequest, now: int) -> None:
        """Raises NativeProblem for a refused request."""

    def ran(
        self,
        request: GateRequest,
        *,
        queued: int,
        started: int,
        ended: int,
        rows: int,
        tokens: int,
    ) -> None: ...
    def after(self, request: GateRequest, end: int, now: int) -> None: ...
    def decoded(self, decode_ns: int, body_bytes: int) -> None: ...
    def count_ok(
        self,
        request: GateRequest,
        *,
        decode_ns: int,
        encode_ns: int,
        total_ns: int,
        body_bytes: int,
    ) -> None: ...
    def count_problem(self, slug: str, total_ns: int) -> None: ...
    def counters(self) -> dict[str, Any]: ...
    def snapshot(self) -> dict[str, Any]: ...
