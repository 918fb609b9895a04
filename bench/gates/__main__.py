"""`python -m bench.gates`: builds the native program, measures, prints."""

from __future__ import annotations

import argparse

from bench.gates.figures import GATES, run_gates
from bench.native import build_program
from bench.report import figure_table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gates", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="default %(default)s")
    parser.add_argument("--tiny", action="store_true", help="see that it runs; measures nothing")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds: expected at least 1")
    section = run_gates(build_program(GATES), rounds=given.rounds, tiny=given.tiny)
    print(figure_table(section.figures), section.markdown(), sep="\n\n")


if __name__ == "__main__":
    main()
