"""Folders of models and their versions: what lies there, when it is complete, and a first request.

What is found here is loaded and served by the layers above.
"""

from __future__ import annotations

from pelton.repository.layout import (
    Fingerprint,
    ModelFolder,
    check_repository,
    file_in,
    find_artefact,
    fingerprint,
    model_names,
    read_model,
    wanted_versions,
)
from pelton.repository.warmup import warm_up
from pelton.repository.watch import Change, Seen, Watch, look

__all__ = [
    "Change",
    "Fingerprint",
    "ModelFolder",
    "Seen",
    "Watch",
    "check_repository",
    "file_in",
    "find_artefact",
    "fingerprint",
    "look",
    "model_names",
    "read_model",
    "wanted_versions",
    "warm_up",
]
