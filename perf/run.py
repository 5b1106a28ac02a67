"""`python perf/run.py`: measures image-syncer in scenarios, against other tools; perf/README.md says how."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Not this folder itself, in which Python begins to look: its modules are `perf.…`, and some are named like others'.
sys.path[:1] = [str(ROOT), str(ROOT / "engine"), str(ROOT / "cli")]

from perf.command import main  # noqa: E402 - the checkout's own, wherever it lies

if __name__ == "__main__":
    sys.exit(main())
