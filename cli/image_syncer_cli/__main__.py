"""`python -m image_syncer_cli` is the command `image-syncer`."""

from __future__ import annotations

import sys

from image_syncer_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
