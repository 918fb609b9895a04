"""From a file to a checked model, or to an error that says what is wrong with it and where.

The file is read once and its weights stay where they are: tensors are views of its bytes, external
ones of mappings made when they are first looked at. Nothing is allocated for what a file merely
claims: sizes are compared with the bytes that are there first.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from pelton.compiler.onnx._formats import HEAD_BYTES, foreign_format
from pelton.compiler.onnx._functions import read_functions
from pelton.compiler.onnx._import import Importer, domain_of
from pelton.compiler.onnx._refuse import quote, refusal, text
from pelton.compiler.onnx._schemas import STANDARD_DOMAINS, opset_versions
from pelton.compiler.onnx._values import Values
from pelton.compiler.onnx._wire import WireError, slim
from pelton.compiler.onnx.graph import STANDARD, OnnxModel
from pelton.errors import UnsupportedModel

__all__ = ["FILE_BYTES_MAX", "read_model"]

#: Protocol buffers hold no more; larger models have their weights in external files.
FILE_BYTES_MAX: Final = 2**31 - 1


def read_model(path: str | os.PathLike[str]) -> OnnxModel:
    """Reads and checks an ONNX file; weights are views, of the file's bytes or of mapped files.

    Raises UnsupportedModel for anything that is no sound ONNX model of a version that the installed
    `onnx` package knows, and where that package is missing.
    """
    where = Path(path)
    data = _bytes(where)
    try:
        slimmed = slim(data)
    except WireError as error:
        raise _corrupt(where, error) from None
    proto = _parse(where, slimmed.slim)
    try:
        return _model(where, proto, Values(where, slimmed))
    except UnicodeDecodeError as error:
        raise refusal(where, "a name", expected="UTF-8", got=f"other bytes ({error})") from None


def _model(path: Path, proto: Any, values: Values) -> OnnxModel:
    opsets = _versions(path, proto)
    if not proto.HasField("graph"):
        raise refusal(path, "graph", expected="a model with a graph", got="none")
    identities = {(domain_of(text(f.domain)), f.name, f.overload) for f in proto.functions}
    functions = read_functions(path, values, proto, identities)
    return OnnxModel(
        path,
        Importer(path, values, opsets, identities).graph(proto.graph),
        proto.ir_version,
        opsets,
        functions,
        " ".join(filter(None, map(text, (proto.producer_name, proto.producer_version)))),
        {text(entry.key): text(entry.value) for entry in proto.metadata_props},
    )


def _bytes(path: Path) -> bytes:
    try:
        # A named pipe would block; a device has no end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise refusal(path, "", expected="an ONNX file", got="no regular file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(HEAD_BYTES)
            if not head:
                raise refusal(path, "", expected="an ONNX model", got="an empty file")
            kind = foreign_format(head, size)
            if kind is not None:
                raise refusal(path, "", expected="an ONNX model", got=kind)
            if size > FILE_BYTES_MAX:
                wanted = f"at most {FILE_BYTES_MAX} bytes, larger weights in external files"
                raise refusal(path, "", expected=wanted, got=f"{size} bytes")
            file.seek(0)
            return file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise refusal(path, "", expected="a readable file", got=reason) from None


def _corrupt(path: Path, error: WireError) -> UnsupportedModel:
    return UnsupportedModel(
        f"{path}: expected an ONNX model, got corrupt or truncated bytes: {error}",
        expected="an ONNX model",
        got=str(error),
        offset=error.offset,
    )


def _parse(path: Path, data: bytes) -> Any:
    try:
        import onnx

        decode_error: Any = import_module("google.protobuf.message").DecodeError
    except ImportError:
        raise UnsupportedModel(
            f"{path}: reading ONNX models needs the package onnx, which is not installed"
        ) from None
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except decode_error as error:
        raise refusal(
            path, "", expected="an ONNX model", got=f"corrupt or truncated bytes ({error})"
        ) from None
    return proto


def _versions(path: Path, proto: Any) -> Mapping[str, int]:
    """The opsets of the model, after its versions are found to be known."""
    from onnx import IR_VERSION

    # Few messages are as plain as a ModelProto: any field may be absent from a wrong file.
    if not proto.HasField("ir_version") and not proto.HasField("graph"):
        raise refusal(path, "", expected="an ONNX model", got="some other protocol buffer")
    if not 1 <= proto.ir_version <= IR_VERSION:
        wanted = f"1 to {IR_VERSION}, as the installed onnx package"
        raise refusal(path, "IR version", expected=wanted, got=proto.ir_version)
    opsets: dict[str, int] = {}
    for entry in proto.opset_import:
        domain = domain_of(text(entry.domain))
        newest = opset_versions().get(domain) if domain in STANDARD_DOMAINS else None
        if entry.version < 1 or (newest is not None and entry.version > newest):
            wanted = f"1 to {newest}, as the installed onnx package" if newest else "1 or more"
            name = f"opset of the domain {quote(domain or 'ai.onnx')}"
            raise refusal(path, name, expected=wanted, got=entry.version)
        if domain in opsets and opsets[domain] != entry.version:
            name = f"opset of the domain {quote(domain or 'ai.onnx')}"
            raise refusal(path, name, expected="one version", got="two")
        opsets[domain] = entry.version
    if not opsets:
        if proto.ir_version >= 3:
            raise refusal(path, "opset_import", expected="at least one opset", got="none")
        opsets[STANDARD] = 1
    return opsets
