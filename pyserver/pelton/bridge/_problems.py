"""Problems of native code as errors of the tree. The slugs are those of csrc/base/problem.cc."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pelton import _native
from pelton.errors import Error, Internal, leaf_for_code

__all__ = ["native_problems", "problem_error"]


def problem_error(problem: _native.NativeProblem) -> Error:
    """The leaf for a problem, with its details; an unknown slug is a defect, so `Internal`."""
    leaf = leaf_for_code(problem.code)
    if leaf is None:
        return Internal(f"native problem {problem.code!r}: {problem}")
    return leaf(str(problem), **problem.details)


@contextmanager
def native_problems() -> Iterator[None]:
    """Re-raises what native code refuses as an error of the tree."""
    try:
        yield
    except _native.NativeProblem as problem:
        raise problem_error(problem) from None
