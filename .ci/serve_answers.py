"""Runs `make serve` in this checkout as a newcomer would and asks it for one embedding.

Prints `serve: 1 passed, 0 failed` when the answer is a normalized vector and SIGTERM ends it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

START_S_MAX = 240
STOP_S_MAX = 30
DIMENSIONS = 384


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S_MAX
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(f"make serve ended with code {server.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"not ready after {START_S_MAX} s")


def embed(url: str) -> list[float]:
    body = json.dumps({"model": "minilm", "input": "A real sentence."}).encode()
    request = urllib.request.Request(
        f"{url}/v1/embeddings", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        vector = json.load(answer)["data"][0]["embedding"]
    return [float(value) for value in vector]


def check(url: str, server: subprocess.Popen[bytes]) -> None:
    wait_until_ready(url, server)
    vector = embed(url)
    norm = sum(value * value for value in vector) ** 0.5
    if len(vector) != DIMENSIONS or abs(norm - 1) > 1e-4:
        raise RuntimeError(
            f"expected {DIMENSIONS} values of norm 1, got {len(vector)} of norm {norm}"
        )
    os.killpg(server.pid, signal.SIGTERM)
    server.wait(timeout=STOP_S_MAX)


def main() -> int:
    port = free_port()
    server = subprocess.Popen(
        ["make", "--no-print-directory", "serve", f"PORT={port}"], start_new_session=True
    )
    try:
        check(f"http://127.0.0.1:{port}", server)
    except (RuntimeError, OSError, KeyError, ValueError, subprocess.TimeoutExpired) as error:
        print(f"serve: {error}", file=sys.stderr)
        print("serve: 0 passed, 1 failed")
        return 1
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    print("serve: 1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
