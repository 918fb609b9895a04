"""What a file is that is no ONNX model, told from its first bytes."""

from __future__ import annotations

import json
from typing import Final

__all__ = ["HEAD_BYTES", "foreign_format"]

#: As many of the first bytes as `foreign_format` wants to see.
HEAD_BYTES: Final = 4096

_MAGICS: Final = (
    (b"GGUF", "a GGUF file (llama.cpp)"),
    (b"GGML", "a GGML file (llama.cpp)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras)"),
    (b"PK\x03\x04", "a zip archive (PyTorch, Keras or Core ML package)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a gzip file: unpack it"),
    (b"BZh", "a bzip2 file: unpack it"),
    (b"\xfd7zXZ\x00", "an xz file: unpack it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file: unpack it"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x7fELF", "a Linux program or library"),
    (b"PELTON", "a compiled plan"),
    (b"version https://git-lfs", "a Git LFS pointer: the file itself was not fetched"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
    (b"ptrt", "a TensorRT engine"),
    (b"ftrt", "a TensorRT engine"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\xca\xfe\xba\xbe", "a Java class"),
    (b"MZ", "a Windows program"),
)


def foreign_format(head: bytes, size: int) -> str | None:
    """The kind of a file that starts with `head` and has `size` bytes; None if it may be ONNX."""
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model"
    if head[4:8] == b"ORTM":
        return "an ORT-format model (ONNX Runtime)"
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        return "a safetensors file"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 2:
        return "a Python pickle (PyTorch)"
    if head.startswith(b"\x08\x01\x12") and (b"serve" in head or b"saved_model" in head):
        return "a TensorFlow SavedModel"
    if not head.strip(b"\x00"):
        return "zeros only"
    return _text(head)


def _text(head: bytes) -> str | None:
    # A ModelProto begins with a tag byte and holds control characters in its first fields.
    if any(byte < 9 or 13 < byte < 32 or byte == 127 for byte in head):
        return None
    try:
        text = head.decode("utf-8", "strict" if len(head) < HEAD_BYTES else "ignore")
    except UnicodeDecodeError:
        return None
    start = text.lstrip()
    if start.startswith("<"):
        return "an HTML or XML page"
    if start.startswith(("{", "[")):
        try:
            json.loads(text)
        except ValueError:
            return "plain text, perhaps JSON"
        return "a JSON document"
    return "plain text"
