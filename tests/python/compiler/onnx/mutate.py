"""Reads, infers, cleans up and analyses seeded mutations of a model: a child process of a test.

`python mutate.py MODEL SEED COUNT` prints how many were taken and how many refused; any other error
ends it with a traceback that names the seed.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from pelton.compiler.onnx.batch_axis import batch_axes
from pelton.compiler.onnx.passes import optimize
from pelton.compiler.onnx.read import read_model
from pelton.errors import UnsupportedModel


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with a few of them changed, removed, doubled or moved."""
    result = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(result))
        size = chance.choice((1, 1, 2, 8, 64))
        kind = chance.randrange(5)
        if kind == 0:
            result[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            result[at] = chance.randrange(256)
        elif kind == 2 and len(result) > size + 1:
            del result[at : at + size]
        elif kind == 3:
            result[at:at] = result[at : at + size]
        else:
            source = chance.randrange(len(result))
            result[at : at + size] = result[source : source + size]
    return bytes(result)


def main() -> int:
    data = Path(sys.argv[1]).read_bytes()
    first, count = int(sys.argv[2]), int(sys.argv[3])
    taken = refused = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        for seed in range(first, first + count):
            path.write_bytes(mutated(data, random.Random(seed)))
            try:
                model = read_model(path)
                batch_axes(model)
                optimize(model)
                taken += 1
            except UnsupportedModel:
                refused += 1
            except BaseException:
                print(f"seed {seed} of {sys.argv[1]}", file=sys.stderr)
                raise
    print(taken, refused)
    return 0


if __name__ == "__main__":
    sys.exit(main())
