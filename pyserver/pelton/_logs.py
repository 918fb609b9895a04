"""Log lines for people, or one JSON object each for machines. On stderr."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["configure_logging", "log_warnings"]

# What every record has; anything else was given as `extra`.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _OWN}


def _utc(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds * 1000) % 1000:03d}Z"


class _TextFormatter(logging.Formatter):
    """One line: time (UTC), level, message, the request's id where it is about one, the number
    of the worker where it is one; messages hold the other extras already."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_utc(record.created)} {record.levelname.lower()} {record.getMessage()}"
        extras = _extras(record)
        for name in ("request_id", "worker"):
            if name in extras:
                line += f" {name}={extras[name]}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, extras, exception."""

    def format(self, record: logging.LogRecord) -> str:
        members = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        return json.dumps(members, default=str, ensure_ascii=False)


class _WorkerNumber(logging.Filter):
    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def filter(self, record: logging.LogRecord) -> bool:
        record.worker = self._number
        return True


def configure_logging(log_format: str, log_level: str, worker: int | None = None) -> None:
    """Send the process's log to stderr; other libraries' from warnings up. Every line of a worker
    has its number."""
    handler = logging.StreamHandler()
    if worker is not None:
        handler.addFilter(_WorkerNumber(worker))
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("pelton").setLevel(log_level.upper())
    # uvicorn warns of single malformed requests, which were answered.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)


def log_warnings(messages: Iterable[str]) -> None:
    """Log what came up before the log was configured."""
    for message in messages:
        logging.getLogger("pelton").warning(message)
