"""The command `image-syncer`: one file per verb, over the public names of `image_syncer`."""

from __future__ import annotations

__all__: list[str] = []
