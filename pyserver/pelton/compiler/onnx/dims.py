"""Sizes of dimensions: an integer, or a polynomial over named sizes such as `2*batch*seq + 1`.

Where a division leaves a remainder that cannot be known, or an expression grows past
`TERMS_MAX`, the result is a new name that says what it stands for, such as `(H - 1)//2`: equal
names stand for equal sizes. Every name stands for an integer of at least zero.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = [
    "TERMS_MAX",
    "Dim",
    "Expr",
    "add",
    "contains",
    "divide",
    "floor_divide",
    "fresh",
    "multiply",
    "negate",
    "product",
    "subtract",
    "symbol",
]

TERMS_MAX: Final = 16
_NAME_MAX: Final = 200
_numbers: Final = itertools.count()

_Terms: TypeAlias = tuple[tuple[tuple[str, ...], int], ...]


@dataclass(frozen=True, slots=True)
class Expr:
    """A polynomial that is not a constant: ((names of a product, factor), ...), sorted."""

    terms: _Terms

    def __str__(self) -> str:
        parts = []
        for names, factor in self.terms:
            sign = "-" if factor < 0 else "+"
            words = [str(abs(factor))] if abs(factor) != 1 or not names else []
            parts.append(f"{sign} {'*'.join([*words, *names])}")
        text = " ".join(reversed(parts))
        return text.removeprefix("+ ") if text.startswith("+") else "-" + text[2:]

    @property
    def names(self) -> frozenset[str]:
        """The names of all sizes in it."""
        return frozenset(name for names, _ in self.terms for name in names)


Dim: TypeAlias = int | Expr


def symbol(name: str) -> Expr:
    """The size that has this name."""
    return Expr((((name,), 1),))


def fresh(what: str) -> Expr:
    """A size of which nothing is known, distinct from every other."""
    return symbol(f"?{next(_numbers)}:{what[:_NAME_MAX]}")


def _terms(dim: Dim) -> dict[tuple[str, ...], int]:
    if isinstance(dim, Expr):
        return dict(dim.terms)
    return {(): dim} if dim else {}


def _dim(terms: Mapping[tuple[str, ...], int], what: str) -> Dim:
    kept = {names: factor for names, factor in terms.items() if factor}
    if not kept.keys() - {()}:
        return kept.get((), 0)
    if len(kept) > TERMS_MAX or any(len(names) > TERMS_MAX for names in kept):
        return fresh(what)
    return Expr(tuple(sorted(kept.items())))


def add(a: Dim, b: Dim) -> Dim:
    """a + b"""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    terms = _terms(a)
    for names, factor in _terms(b).items():
        terms[names] = terms.get(names, 0) + factor
    return _dim(terms, "sum")


def negate(a: Dim) -> Dim:
    """-a"""
    return multiply(a, -1)


def subtract(a: Dim, b: Dim) -> Dim:
    """a - b"""
    return add(a, negate(b))


def multiply(a: Dim, b: Dim) -> Dim:
    """a * b"""
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    terms: dict[tuple[str, ...], int] = {}
    for (left, x), (right, y) in itertools.product(_terms(a).items(), _terms(b).items()):
        names = tuple(sorted(left + right))
        terms[names] = terms.get(names, 0) + x * y
    return _dim(terms, "product")


def product(dims: Iterable[Dim]) -> Dim:
    """The product of all; 1 of none."""
    total: Dim = 1
    for dim in dims:
        total = multiply(total, dim)
    return total


def divide(a: Dim, b: Dim) -> Dim | None:
    """a / b where it is exact for all values of the names and b is one term; else None."""
    divisor = _terms(b)
    if len(divisor) != 1:
        if a == b and divisor:
            return 1
        return None
    (names, factor), *_ = divisor.items()
    result: dict[tuple[str, ...], int] = {}
    for term, count in _terms(a).items():
        left = list(term)
        for name in names:
            if name not in left:
                return None
            left.remove(name)
        if count % factor:
            return None
        result[tuple(left)] = count // factor
    return _dim(result, "quotient")


def floor_divide(a: Dim, b: Dim) -> Dim:
    """floor(a / b); a name for the quotient where it is not exact."""
    if b == 0:
        raise ZeroDivisionError("a size divided by zero")
    exact = divide(a, b)
    if exact is not None:
        return exact
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    text = f"({a})//({b})" if isinstance(b, Expr) else f"({a})//{b}"
    return symbol(text) if len(text) <= _NAME_MAX else fresh("quotient")


def contains(dim: Dim, name: str) -> bool:
    """Whether a size depends on the one called `name`, also within the name of a quotient."""
    return isinstance(dim, Expr) and any(name in atom for atom in dim.names)
