"""Discovery: what registries have, and the manifests that are pushed to them, through one client."""

from __future__ import annotations

__all__: list[str] = []
