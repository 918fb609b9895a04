"""A figure says by how much it misses its reach."""

from __future__ import annotations

from dataclasses import replace

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


@pytest.mark.parametrize(
    ("value", "interval", "reach", "lower", "verdict"),
    [
        (0.96, (0.37, 2.87), 1.05, True, "not resolved, ± 130 %"),
        (1.2, (1.0, 1.4), 1.05, True, "not resolved, ± 17 %"),
        (1.0, (0.98, 1.05), 1.05, True, "met"),
        (2.1, (1.06, 3.0), 1.05, True, "short by 100 %"),
        (0.66, (0.60, 0.72), 0.65, False, "not resolved, ± 9 %"),
        (0.95, (0.65, 1.03), 0.65, False, "met"),
        (0.26, (0.23, 0.64), 0.65, False, "short by 60 %"),
        (0.96, (0.37, 2.87), None, True, "reported"),
    ],
)
def test_all_of_an_interval_must_be_within_reach(
    value: float, interval: tuple[float, float], reach: float | None, lower: bool, verdict: str
) -> None:
    found = replace(figure(value, reach, lower=lower), interval=interval)
    assert found.verdict == verdict
    assert found.met == {"m": True, "s": False}.get(verdict[0])
    with_cost = replace(found, cost="it costs 3 ns")
    assert with_cost.verdict.endswith("; it costs 3 ns") == verdict.startswith("not resolved")


def test_what_is_no_number_is_not_met() -> None:
    assert figure(float("nan"), 3.0).met is False
    assert figure(1.0).met is None


def test_markdown() -> None:
    section = Section("Title", [figure(1.0)])
    section.add("text", table(("a", "b"), [("1", "2")]))
    assert section.markdown() == "## Title\n\ntext\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert figure_table(section.figures).splitlines()[-1] == "| w | a | s | – | reported |"
