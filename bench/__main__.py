"""`python -m bench`: measures, prints, and writes the results file."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.machine import ROOT, Machine, describe_machine, warn_if_busy
from bench.native import build_program
from bench.report import Section, figure_table, table

_RESULTS: Final = ROOT / "bench" / "results"
_PARTS: Final = ("engine", "startup", "memory", "kernels")
#: `python -m bench server ROW ...`: see bench/server/figures.py, which is imported when used.
_SERVER: Final = "server"
_SERVER_ROWS: Final = (
    "floor",
    "single",
    "formats",
    "peers",
    "mlp",
    "embed",
    "open",
    "idle",
    "hog",
    "stall",
    "mixed",
)
#: Of the options that change figures; threads are those of each engine, the seed chooses sentences.
_DEFAULTS: Final = {"rounds": 15, "threads": 2, "seed": 1}


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Pelton's figures.")
    about = f"{', '.join(_PARTS)} (all); or {_SERVER} and of {', '.join(_SERVER_ROWS)} (all)"
    parser.add_argument("parts", nargs="*", metavar="PART", help=about)
    for name, default in _DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=default, help="default %(default)s")
    parser.add_argument("--model", type=Path, help="encoder folder (default: MiniLM, fetched)")
    parser.add_argument("--results", type=Path, help="folder of the results file")
    parser.add_argument("--tiny", action="store_true", help="see that it runs; measures nothing")
    given = parser.parse_args(words)
    given.server = given.parts[:1] == [_SERVER]
    asked, known = (given.parts[1:], _SERVER_ROWS) if given.server else (given.parts, _PARTS)
    if unknown := sorted(set(asked) - set(known)):
        shown = known if given.server else (*known, _SERVER)
        parser.error(f"unknown part {unknown[0]!r}; known are {', '.join(shown)}")
    if given.rounds < 1 or given.threads < 1:
        parser.error("--rounds and --threads: expected at least 1")
    return given


def _model_folder(given: Path | None) -> Path:
    if given is not None:
        return given.absolute()
    script = ROOT / "examples" / "fetch_minilm.py"
    done = subprocess.run(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit("bench: the model could not be fetched (see above)")
    return Path(done.stdout.strip())


def _runs(given: argparse.Namespace, machine: Machine) -> dict[str, Callable[[], Section]]:
    """What is imported only where it runs: a kernel engineer needs no onnxruntime."""

    def engine() -> Section:
        from bench.engine.figures import EngineOptions, run_engine

        return run_engine(
            EngineOptions(
                folder=_model_folder(given.model),
                program=build_program(),
                isa=machine.isa,
                threads=given.threads,
                rounds=given.rounds,
                seed=given.seed,
                tiny=given.tiny,
            )
        )

    def startup() -> Section:
        from bench.startup import StartupOptions, run_startup

        folder = _model_folder(given.model)
        return run_startup(
            StartupOptions(folder=folder, threads=given.threads, rounds=given.rounds)
        )

    def memory() -> Section:
        from bench.memory import run_memory

        return run_memory(_model_folder(given.model))

    def kernels() -> Section:
        from bench.kernels.figures import KernelOptions, run_kernels

        return run_kernels(
            KernelOptions(program=build_program(), rounds=given.rounds, tiny=given.tiny)
        )

    return {"engine": engine, "startup": startup, "memory": memory, "kernels": kernels}


def _run_server(given: argparse.Namespace, machine: Machine) -> list[Section]:
    from bench.native import LOADGEN
    from bench.server.figures import NEEDS_ENCODER, run_server
    from bench.server.stage import ServerOptions

    rows = given.parts[1:] or _SERVER_ROWS
    needed = any(row in NEEDS_ENCODER for row in rows)
    options = ServerOptions(
        program=build_program(LOADGEN),
        isa=machine.isa,
        encoder=_model_folder(given.model) if needed else None,
        threads=given.threads,
        rounds=given.rounds,
        seed=given.seed,
        tiny=given.tiny,
    )
    return run_server(options, rows)


def _run_parts(given: argparse.Namespace, machine: Machine) -> list[Section]:
    runs = _runs(given, machine)
    sections = []
    for part in given.parts or _PARTS:
        print(f"bench: {part}", file=sys.stderr, flush=True)
        sections.append(runs[part]())
    return sections


def _describe(machine: Machine, command: str) -> str:
    rows = [
        ("CPU", f"{machine.cpu} ({machine.family}), {machine.cpus} CPUs, {machine.caches}"),
        ("instruction set", f"{machine.isa} (of {', '.join(machine.features)})"),
        ("system", f"{machine.system}, {machine.memory_gb:.0f} GB memory"),
        ("versions", ", ".join(f"{name} {text}" for name, text in machine.versions.items())),
        ("commit", machine.commit),
        ("command", f"`{command}`"),
        ("load when it began", f"{machine.load:.2f}"),
    ]
    return table(("", ""), rows)


def _document(machine: Machine, command: str, sections: Sequence[Section]) -> str:
    figures = [figure for section in sections for figure in section.figures]
    title = f"# {machine.cpu}, {machine.isa}, {time.strftime('%Y-%m-%d')}"
    blocks = [title, _describe(machine, command)]
    if figures:
        blocks += ["## Figures", figure_table(figures)]
    return "\n\n".join([*blocks, *(section.markdown() for section in sections)]) + "\n"


def _command(given: argparse.Namespace) -> str:
    """What makes these figures again; where the model and the results lie is no part of it."""
    isa = os.environ.get("PELTON_ISA")
    words = [f"PELTON_ISA={isa}"] if isa else []
    words += ["python", "-m", "bench", *given.parts]
    for name, default in _DEFAULTS.items():
        value = getattr(given, name)
        words += [f"--{name}", str(value)] if value != default else []
    return shlex.join([*words, *(["--tiny"] if given.tiny else [])])


def main(words: Sequence[str] | None = None) -> int:
    """0 when everything was measured, whether or not it reached what it is held to."""
    given = _arguments(words)
    machine = describe_machine()
    warn_if_busy(machine)
    sections = (_run_server if given.server else _run_parts)(given, machine)
    document = _document(machine, _command(given), sections)
    print(document)
    everything = not given.tiny and given.parts in ([], [_SERVER])
    folder: Path | None = given.results or (_RESULTS if everything else None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        of = "-server" if given.server else ""
        path = folder / f"{time.strftime('%Y-%m-%d')}-{machine.slug}-{machine.isa}{of}.md"
        path.write_text(document)
        print(f"bench: wrote {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
