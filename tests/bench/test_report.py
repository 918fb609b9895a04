"""A figure says by how much it misses its reach."""

from __future__ import annotations

import pytest
from bench.report import Figure, Section, figure_table, table


def figure(value: float, reach: float | None = None, *, lower: bool = False) -> Figure:
    return Figure(what="w", against="a", value=value, shown="s", reach=reach, lower=lower)


@pytest.mark.parametrize(
    ("value", "reach", "lower", "verdict"),
    [
        (3.0, 3.0, False, "met"),
        (2.4, 3.0, False, "short by 20 %"),
        (2.9999, 3.0, False, "short by under 1 %"),
        (1.5, 1.5, True, "met"),
        (1.8, 1.5, True, "short by 20 %"),
        (9.0, None, False, "reported"),
        (float("nan"), 3.0, False, "short by under 1 %"),
    ],
)
def test_verdicts(value: float, reach: float | None, lower: bool, verdict: str) -> None:
    assert figure(value, reach, lower=lower).verdict == verdict


def test_what_is_no_number_is_not_met() -> None:
    assert figure(float("nan"), 3.0).met is False
    assert figure(1.0).met is None


def test_markdown() -> None:
    section = Section("Title", [figure(1.0)])
    section.add("text", table(("a", "b"), [("1", "2")]))
    assert section.markdown() == "## Title\n\ntext\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert figure_table(section.figures).splitlines()[-1] == "| w | a | s | – | reported |"
