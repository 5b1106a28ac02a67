"""The last word of a run with failures: the command that finds out more about the first of them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from image_syncer_cli.output import printable, say
from image_syncer_cli.render import say_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image_syncer import ImageResult, Report

__all__ = ["say_doctor", "way_words"]

_REFUSED = "refused"
_HELPS_WITH = (_REFUSED, "transport", "authentication", "unavailable", "registry down", "protocol violation")
"""Kinds of errors that are of the registry, or of the way to it."""
_CATALOG = "/_catalog"
"""What a registry's list of repositories is called in errors: no repository."""
_OF_CONTENT = "put manifest"
"""What is refused here is one manifest or one tag, which the doctor does not have."""


def way_words(auth: str | None = None, config: str | None = None, insecure_hosts: Sequence[str] = ()) -> list[str]:
    """The options of a verb that say how registries are reached, as words of a command line."""
    words = ["--auth", auth] if auth is not None else []
    words += ["--config", config] if config is not None else []
    return words + [word for host in insecure_hosts for word in ("--insecure", host)]


def say_doctor(report: Report, ways: Sequence[str], *, as_json: bool) -> None:
    """Name the doctor for the first failure in which it can help, if there is one; `ways` are what `way_words` made."""
    from image_syncer import is_place

    places = (_place(result) for result in report.failures)
    place = next((place for place in places if place is not None and not is_place(place)), None)
    if place is None:
        return
    command = shlex.join(["image-syncer", "doctor", place, *ways])
    if as_json:
        say_json("doctor", command=command)
    else:
        say(f"To find out why: {printable(command)}", err=True)


def _place(result: ImageResult) -> str | None:
    """The repository in which an image has failed, where it was for a reason that the doctor can find."""
    error: Mapping[str, Any] = result.error or {}
    kind = error.get("kind")
    if kind not in _HELPS_WITH:
        return None
    if kind == _REFUSED and ("request" not in error or error.get("operation") == _OF_CONTENT):
        return None  # without a request it was not a registry that refused, but a rule or an option
    if error.get("repository"):
        return str(error["repository"]).removesuffix(_CATALOG)
    sides = {"source": result.source, "destination": result.destination}
    named = sides.get(str(error.get("side")))
    return None if named is None else _without_tag(named)


def _without_tag(reference: str) -> str:
    head, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
