"""What a value is to a batch, and what rules may ask about the values around a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from pelton.compiler.onnx import dims
from pelton.compiler.onnx._known import Known, whole
from pelton.compiler.onnx.dims import Dim, symbol
from pelton.compiler.onnx.graph import Node, Shape
from pelton.compiler.onnx.shapes import Inference

__all__ = [
    "BATCH",
    "SHARED",
    "SIZED",
    "Mixed",
    "Mixes",
    "Rows",
    "Special",
    "State",
    "View",
    "depends_on_batch",
]

#: The number of rows of a batch, as a size; no file can name a size so.
BATCH: Final = symbol(
    "\N{MATHEMATICAL LEFT ANGLE BRACKET}batch\N{MATHEMATICAL RIGHT ANGLE BRACKET}"
)
_BATCH_NAME: Final = str(BATCH)


@dataclass(frozen=True, slots=True)
class Rows:
    """Row i of the batch lies at [i * each, (i + 1) * each) of `axis` and depends on the rows i of
    the inputs alone."""

    axis: int
    each: Dim = 1


@dataclass(frozen=True, slots=True)
class Special:
    """SHARED: the same whatever the batch. SIZED: depends on the number of rows, on no row."""

    name: str


SHARED: Final = Special("shared")
SIZED: Final = Special("sized")


@dataclass(frozen=True, slots=True)
class Mixed:
    """Rows meet: the first node where they do, and how."""

    node: Node | None
    reason: str


State: TypeAlias = Rows | Special | Mixed


class Mixes(Exception):
    """Raised by a rule: rows meet in its node."""


class View:
    """One node's surroundings: states, shapes and known values of its inputs and outputs."""

    def __init__(self, node: Node, states: Sequence[State], found: Inference, opset: int) -> None:
        self.node = node
        self.states = states
        self.opset = opset
        self._found = found

    def state(self, position: int) -> State:
        """The state of an input; absent ones are shared."""
        return self.states[position] if position < len(self.states) else SHARED

    def has(self, position: int) -> bool:
        """Whether an input is given."""
        return position < len(self.node.inputs) and bool(self.node.inputs[position])

    def rows(self, position: int) -> Rows | None:
        """The state of an input, if it has rows."""
        state = self.state(position)
        return state if isinstance(state, Rows) else None

    def shape(self, position: int) -> Shape:
        """The shape of an input. Mixes where its rank is unknown."""
        name = self.node.inputs[position]
        shape = self._found.shape(name)
        if shape is None:
            raise Mixes(f"the rank of {name!r} is unknown")
        return shape

    def out_shape(self, position: int = 0) -> Shape:
        """The shape of an output. Mixes where its rank is unknown."""
        name = self.node.outputs[position]
        shape = self._found.shape(name)
        if shape is None:
            raise Mixes(f"the rank of {name!r} is unknown")
        return shape

    def known(self, position: int) -> Known | None:
        """The value of an input, if it is known."""
        return self._found.known.get(self.node.inputs[position]) if self.has(position) else None

    def ints(self, position: int) -> list[int] | None:
        """The integers of an input, if they are known."""
        return whole(self.known(position))

    def only(self, *positions: int) -> None:
        """Mixes unless every input but these is shared."""
        for position, state in enumerate(self.states):
            if position not in positions and state != SHARED:
                what = "rows" if isinstance(state, Rows) else "the number of rows"
                raise Mixes(f"its input {self.node.inputs[position]!r} depends on {what}")

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front. Mixes where it is outside the rank."""
        if not -rank <= axis < rank:
            raise Mixes(f"axis {axis} is outside its rank {rank}")
        return axis % rank


def depends_on_batch(dim: Dim) -> bool:
    """Whether a size depends on the number of rows."""
    return dims.contains(dim, _BATCH_NAME)
