"""Runs the native test binaries of a build folder, one after the other, and sums their counts.

    python tests/native/run.py build/release [--seed N] [--only FOLDER] [FILTER ...]

The last line is `N passed, N failed, N skipped`. Exits 1 if a test failed, a binary died or no
test ran.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

COUNTS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)
TIME_LIMIT_S = 1800
# TSan of g++ 12 maps its shadow at fixed places: with more random bits a process may not start.
TSAN_RANDOM_BITS_MAX = 28
# A request for too much memory returns null, as without a sanitizer: tests ask for it.
# No detect_stack_use_after_return: g++ 12 then misaligns AVX-512 locals (GCC bug 110027).
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "second_deadlock_stack=1:allocator_may_return_null=1",
}


def prefix(build: Path) -> list[str]:
    """What a ThreadSanitizer binary needs in front of it where addresses are too random for it."""
    cache = (build / "CMakeCache.txt").read_text()
    bits = Path("/proc/sys/vm/mmap_rnd_bits")
    random_bits = int(bits.read_text()) if os.access(bits, os.R_OK) else 32
    setarch = shutil.which("setarch")
    if "PELTON_SANITIZE:STRING=thread" in cache and random_bits > TSAN_RANDOM_BITS_MAX and setarch:
        return [setarch, platform.machine(), "-R"]
    return []


def run_binary(name: str, command: list[str], timeout_s: float) -> tuple[int, int, int]:
    """Runs one binary, passes its output on, returns its counts; its death is one more failure."""
    environment = {**SANITIZER_OPTIONS, **os.environ}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            output += f"\nkilled after {timeout_s} s\n"
    print(output, end="", flush=True)
    found = COUNTS.findall(output)
    passed, failed, skipped = map(int, found[-1]) if found else (0, 0, 0)
    if process.returncode != 0 and failed == 0:
        if found and passed + skipped == 0:
            return 0, 0, 0  # the filters chose none of its tests
        print(f"FAIL {name}: exit code {process.returncode}", flush=True)
        failed = 1
    return passed, failed, skipped


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("build", type=Path)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", action="append", default=[], metavar="FOLDER")
    parser.add_argument("filters", nargs="*")
    options = parser.parse_args()
    binaries = sorted((options.build / "tests").glob("test_*"))
    if options.only:
        binaries = [b for b in binaries if b.name.removeprefix("test_") in options.only]
    before = prefix(options.build)
    total = [0, 0, 0]
    for binary in binaries:
        print(f"== {binary}", flush=True)
        command = [*before, str(binary), "--seed", options.seed, *options.filters]
        counts = run_binary(str(binary), command, TIME_LIMIT_S)
        total = [a + b for a, b in zip(total, counts, strict=True)]
    print(f"native tests in {options.build}: {len(binaries)} binaries")
    print("{} passed, {} failed, {} skipped".format(*total))
    return 0 if total[1] == 0 and total[0] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
