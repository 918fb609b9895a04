"""Sums what the test runners counted in the logs of a CI run.

    python .ci/sum_counts.py LOGS

LOGS holds NAME.log and NAME.code (the exit code) of each step. Prints `N passed, N failed,
N skipped` and exits 1 if anything failed. A step that failed without a failed test, as a linter
does, counts as one failure.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# The sum of tests/native/run.py follows its line on the folder; the binaries' own lines do not.
NATIVE = re.compile(
    r"^native tests in .*\n"
    r"(?P<passed>\d+) passed, (?P<failed>\d+) failed, (?P<skipped>\d+) skipped$",
    re.MULTILINE,
)
PYTEST = re.compile(
    r"^=+ (?P<counts>.*\b(?:passed|failed|errors?|skipped)\b.*) in [\d.]+s.*=+$", re.MULTILINE
)
PLAIN = re.compile(r"^serve: (\d+) passed, (\d+) failed$", re.MULTILINE)


def pytest_count(counts: str, *words: str) -> int:
    """The sum of these words' counts in pytest's closing line, such as `2 failed, 10 passed`."""
    found = re.findall(r"(\d+) (\w+)", counts)
    return sum(int(number) for number, word in found if word in words)


def count(log: str) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    for match in NATIVE.finditer(log):
        passed += int(match["passed"])
        failed += int(match["failed"])
        skipped += int(match["skipped"])
    for match in PYTEST.finditer(log):
        passed += pytest_count(match["counts"], "passed", "xfailed")
        failed += pytest_count(match["counts"], "failed", "error", "errors", "xpassed")
        skipped += pytest_count(match["counts"], "skipped")
    for match in PLAIN.finditer(log):
        passed += int(match[1])
        failed += int(match[2])
    return passed, failed, skipped


def main() -> int:
    total = [0, 0, 0]
    for code_file in sorted(Path(sys.argv[1]).glob("*.code")):
        log = code_file.with_suffix(".log").read_text(errors="replace")
        passed, failed, skipped = count(log)
        if int(code_file.read_text()) != 0 and failed == 0:
            failed = 1
        total = [total[0] + passed, total[1] + failed, total[2] + skipped]
    print("{} passed, {} failed, {} skipped".format(*total))
    return 0 if total[1] == 0 and total[0] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
