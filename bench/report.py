"""Figures with the reach they are held to, and the Markdown that shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["Figure", "Section", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table of the README.

    `value` is compared with `reach`: it is to be at least that, or at most where `lower` says so.
    Without a reach the figure is only reported. `shown` and `reach_shown` are what people read.

    A small effect comes with the `interval` in which it lies: it is met only where all of the
    interval is within reach. Where the interval holds the reach the figure is not resolved, and
    `cost` says what is known of it otherwise.
    """

    what: str
    against: str
    value: float
    shown: str
    reach: float | None = None
    reach_shown: str = "–"
    lower: bool = False
    interval: tuple[float, float] | None = None
    cost: str = ""

    @property
    def met(self) -> bool | None:
        """None where there is no reach, and where the interval does not tell."""
        if self.reach is None:
            return None
        low, high = self.interval or (self.value, self.value)
        best, worst = (low, high) if self.lower else (high, low)
        if self._is_within(worst):
            return True
        return None if self._is_within(best) else False

    def _is_within(self, value: float) -> bool:
        assert self.reach is not None
        return value <= self.reach if self.lower else value >= self.reach

    @property
    def verdict(self) -> str:
        """ "met", by how much of the reach it is missed, or how far off the figure may be."""
        if self.reach is None:
            return "reported"
        if self.met:
            return "met"
        if self.met is None:
            assert self.interval is not None
            low, high = self.interval
            unresolved = f"not resolved, ± {50 * (high - low) / self.value:.0f} %"
            return f"{unresolved}; {self.cost}" if self.cost else unresolved
        share = self.value / self.reach - 1 if self.lower else 1 - self.value / self.reach
        return f"short by {100 * share:.0f} %" if share >= 0.005 else "short by under 1 %"

    def row(self) -> tuple[str, ...]:
        return (self.what, self.against, self.shown, self.reach_shown, self.verdict)


@dataclass(slots=True)
class Section:
    """What one bench found: figures for the table, and its own tables and notes below it."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    body: list[str] = field(default_factory=list)

    def add(self, *blocks: str) -> None:
        self.body.extend(blocks)

    def markdown(self) -> str:
        return "\n\n".join([f"## {self.title}", *self.body])


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def figure_table(figures: Iterable[Figure]) -> str:
    """The table of the README."""
    header = ("what", "against", "measured", "reach", "")
    return table(header, (figure.row() for figure in figures))
