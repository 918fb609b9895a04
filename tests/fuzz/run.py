"""Builds the fuzz targets with clang and runs each under libFuzzer, ASan and UBSan.

    python tests/fuzz/run.py [--seconds N] [--runs N] [--build DIR] [--seed N] [TARGET ...]

Each target runs for N seconds (and at most N inputs, 0: no bound). New inputs that reach new code
are kept in DIR/corpus/<target>, so that the next run goes on from there; what breaks a target is
left in DIR/found/<target>-*. To look into one: DIR/fuzz/fuzz_<target> FILE. Put it, made small,
into tests/fuzz/corpus/<target>: there it is run by every `make native`.

Exits 1 when something was found, 2 when clang++ with libFuzzer is missing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
NAMES = ("clang++", *(f"clang++-{version}" for version in range(22, 13, -1)))
SANITIZERS = "fuzzer-no-link,address,undefined"
PROBE = 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }'
# A target is slow or a memory hog long before it stops the machine.
INPUT_BYTES_MAX = 8192
INPUT_S_MAX = 5
MEMORY_MIB_MAX = 1024


def find_clang() -> str | None:
    """The first clang++ that links a libFuzzer binary."""
    for name in filter(None, (os.environ.get("FUZZ_CXX"), *NAMES)):
        path = shutil.which(name)
        if path is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "probe.cc"
            source.write_text(PROBE)
            command = [path, "-fsanitize=fuzzer,address", str(source), "-o", f"{folder}/probe"]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return path
    return None


def build(clang: str, folder: Path, targets: list[str]) -> None:
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    configure = [
        "cmake",
        *("-S", str(ROOT), "-B", str(folder), "-G", "Ninja", "--log-level=WARNING"),
        f"-DCMAKE_CXX_COMPILER={clang}",
        "-DCMAKE_BUILD_TYPE=Debug",
        "-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1",
        "-DPELTON_TESTS=ON",
        "-DPELTON_FUZZ=ON",
        f"-DPELTON_SANITIZE={SANITIZERS}",
    ]
    make = ["cmake", "--build", str(folder), "--target", *(f"fuzz_{name}" for name in targets)]
    for command in (configure, make):
        subprocess.run(command, check=True, env={**os.environ, "PATH": tools})


def run(target: str, folder: Path, options: argparse.Namespace) -> bool:
    """Whether nothing was found."""
    kept = folder / "corpus" / target
    found = folder / "found"
    for path in (kept, found):
        path.mkdir(parents=True, exist_ok=True)
    log = folder / f"{target}.log"
    command = [
        str(folder / "fuzz" / f"fuzz_{target}"),
        *(str(kept), str(CORPUS / target)),
        f"-max_total_time={options.seconds}",
        f"-runs={options.runs or -1}",
        f"-seed={options.seed}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-timeout={INPUT_S_MAX}",
        f"-rss_limit_mb={MEMORY_MIB_MAX}",
        f"-artifact_prefix={found}/{target}-",
        "-print_final_stats=1",
    ]
    with log.open("w") as output:
        code = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
    text = log.read_text(errors="replace")
    count = re.search(r"stat::number_of_executed_units: +(\d+)", text)
    covered = re.findall(r"cov: (\d+)", text)
    print(
        f"fuzz {target}: {count[1] if count else '?'} inputs, "
        f"{covered[-1] if covered else '?'} edges, {'nothing found' if code == 0 else 'FOUND'}",
        flush=True,
    )
    if code != 0:
        print(text[-6000:])
    return code == 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "fuzz")
    parser.add_argument("targets", nargs="*")
    options = parser.parse_args()
    all_targets = sorted(path.name for path in CORPUS.iterdir())
    targets = options.targets or all_targets
    unknown = sorted(set(targets) - set(all_targets))
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(all_targets)}")
    clang = find_clang()
    if clang is None:
        print(
            "fuzz: NOTHING WAS FUZZED: no clang++ with libFuzzer here "
            "(Debian: apt-get install clang; or set FUZZ_CXX). `make native` runs the same targets "
            "on a fixed count of mutants without it.",
            file=sys.stderr,
        )
        return 2
    folder = options.build.resolve()
    build(clang, folder, targets)
    results = [run(target, folder, options) for target in targets]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
