"""What a peer is: packages from PyPI, a server, the bytes of its requests."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["SERVERS", "Assets", "Peer", "Workload", "peers_folder"]

Workload = Literal["add", "mlp", "embed"]

#: Where the servers' own programs are: they run in the peers' environments and import nothing else.
SERVERS: Final = Path(__file__).resolve().parent / "servers"
_INSTALL_S_MAX: Final = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """Files of the models; those that a workload does not need may be missing."""

    folder: Path
    mlp_onnx: Path | None = None
    encoder_onnx: Path | None = None
    tokenizer: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """`variants` are words for the server's command line: the bench tries each and keeps the
    fastest, so that a peer is seen at its best."""

    name: str
    requirements: tuple[str, ...]
    workloads: frozenset[Workload]
    command: Callable[[Path, Workload, int, Assets, Sequence[str]], list[str]]
    tensor_request: Callable[[npt.NDArray[np.float32]], bytes] | None = None
    text_request: Callable[[str], bytes] | None = None
    variants: tuple[tuple[str, ...], ...] = ((),)
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Its environment: another one as soon as other versions are pinned."""
        digest = hashlib.sha256(" ".join(self.requirements).encode()).hexdigest()[:12]
        return peers_folder() / f"{self.name}-{digest}"

    def install(self) -> Path:
        """The Python of its environment, made where it is missing. Exits where pip fails."""
        python = self.folder / "bin" / "python"
        stamp = self.folder / "installed"
        if stamp.exists():
            return python
        print(f"bench: installing {', '.join(self.requirements)}", file=sys.stderr, flush=True)
        install = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(self.folder)],
            [*install, *self.requirements],
        ):
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_INSTALL_S_MAX, check=False
            )
            if done.returncode != 0:
                raise SystemExit(f"bench: {' '.join(command)} failed:\n{done.stderr}")
        stamp.touch()
        return python


def peers_folder() -> Path:
    """`$PELTON_BENCH_PEERS`, else below `$XDG_CACHE_HOME` or `~/.cache`."""
    given = os.environ.get("PELTON_BENCH_PEERS")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "pelton-bench"
