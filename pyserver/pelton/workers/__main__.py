"""`python -m pelton.workers CONTROL_FD CONNECTIONS_FD`: one worker, started by the parent."""

from __future__ import annotations

import sys

from pelton.workers._worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
