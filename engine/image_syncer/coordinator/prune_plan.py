"""The plan of a prune in a file: what a dry run found, to be looked at by people, and then to bound what is deleted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.errors import ConfigurationError
from image_syncer.oci import Digest
from image_syncer.telemetry import PartialFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.telemetry.pruned import Pruned

__all__ = ["load_prune_plan", "save_prune_plan"]

_KIND, _VERSION = "prune plan", 1
_HINT = "Give the file that `image-syncer prune --save FILE` wrote."


def save_prune_plan(path: str, pruned: Pruned) -> None:
    """Writes what would go. Raises SyncError where the file cannot be written."""
    entries = [
        {
            "repository": str(plan.repository),
            "tags_there": plan.tags_there,
            "tags": [{"tag": each.tag, "digest": each.digest} for each in plan.tags],
            "manifests": [{"digest": each.digest, "tags": list(each.tags), "why": each.why} for each in plan.manifests],
        }
        for plan in pruned.plans
        if not plan.is_empty
    ]
    document = {"kind": _KIND, "version": _VERSION, "repositories": entries}
    file = PartialFile(path, noun="the plan", option="--save")
    try:
        file.write(orjson.dumps(document, default=str, option=orjson.OPT_INDENT_2) + b"\n")
        file.commit()
    except BaseException:
        file.abandon()
        raise


def load_prune_plan(path: str) -> Mapping[str, tuple[frozenset[tuple[str, str]], frozenset[str]]]:
    """By repository, the tags with their digests and the digests of manifests that may go. Raises ConfigurationError
    where the file is something else.
    """
    try:
        document = orjson.loads(Path(path).read_bytes())
    except OSError as error:
        raise ConfigurationError(f"the plan {path} cannot be read: {error.strerror}", hint=_HINT) from None
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"the plan {path} is not JSON: {error.msg}", hint=_HINT) from None
    try:
        is_ours = (document["kind"], document["version"]) == (_KIND, _VERSION)
        bounds = {_text(entry["repository"]): _bounds(entry) for entry in document["repositories"]}
    except (AttributeError, KeyError, TypeError, ValueError):
        is_ours = False
    if not is_ours:
        raise ConfigurationError(f"{path} is no plan of a prune", hint=_HINT)
    return bounds


def _bounds(entry: Mapping[str, Any]) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    tags = {(_text(each["tag"]), _digest(each)) for each in entry["tags"]}
    manifests = {_digest(each) for each in entry["manifests"]}
    tags |= {(_text(tag), _digest(each)) for each in entry["manifests"] for tag in each["tags"]}
    return frozenset(tags), frozenset(manifests)


def _digest(entry: Mapping[str, Any]) -> str:
    return str(Digest(_text(entry["digest"])))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
