"""What registries tell when something was pushed, as plain data: which repositories it is about. Pure.

Understood are the notifications of distribution (https://distribution.github.io/distribution/about/notifications),
Harbor's webhooks in both of their formats (https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/),
and a form of our own: `{"repositories": ["registry.example/team/app"]}`.

Nothing but the names of repositories is believed: what is there is then asked of the registry itself. Pulls are passed
over, or each sync would cause the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MalformedEvent", "PushedRepository", "parse_events"]

MOST_EVENTS = 1000
"""In one request: registries send a few."""
MOST_NAME_CHARS = 512
"""More than a registry and a repository can have."""

_BLOB = "application/octet-stream"
_HARBOR_PUSHES = frozenset({"PUSH_ARTIFACT", "harbor.artifact.pushed"})


class MalformedEvent(ValueError):  # noqa: N818 - as those of `oci`: what is malformed says so
    """A body that is none of the forms; the text says why."""


class PushedRepository(Value, frozen=True):
    """`name` as the registry knows it; `registry` is the host by which it was reached, or "" where that is not told."""

    registry: str
    name: str


def parse_events(body: bytes) -> list[PushedRepository]:
    """The repositories to which something was pushed, each once. Raises MalformedEvent."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MalformedEvent("the body is no JSON") from None
    if not isinstance(document, dict):
        raise MalformedEvent("the body is no JSON object")
    if isinstance(document.get("events"), list):
        found = _of_distribution(document["events"])
    elif isinstance(document.get("repositories"), list):
        found = _of_ours(document["repositories"])
    elif isinstance(document.get("type"), str):
        found = _of_harbor(document)
    else:
        raise MalformedEvent('neither "events", nor "type", nor "repositories" is in the body')
    return list(dict.fromkeys(one for one in found if 0 < len(one.registry + one.name) <= MOST_NAME_CHARS))


def _of_distribution(events: list[Any]) -> Iterator[PushedRepository]:
    for event in events[:MOST_EVENTS]:
        if not isinstance(event, dict) or event.get("action") != "push":
            continue
        target, request = _mapping(event.get("target")), _mapping(event.get("request"))
        # A manifest that was pushed by its digest may be a signature; a blob alone changes nothing.
        if target.get("mediaType") != _BLOB and (name := _text(target.get("repository"))):
            yield PushedRepository(_text(request.get("host")), name)


def _of_harbor(document: dict[str, Any]) -> Iterator[PushedRepository]:
    if document["type"] not in _HARBOR_PUSHES:
        return
    data = _mapping(document.get("event_data")) or _mapping(document.get("data"))
    name = _text(_mapping(data.get("repository")).get("repo_full_name"))
    if not name:
        raise MalformedEvent("the webhook of Harbor names no repository (repo_full_name)")
    resources = data.get("resources")
    first = _mapping(resources[0]) if isinstance(resources, list) and resources else {}
    place = _text(first.get("resource_url"))
    registry, slash, _ = place.partition("/")
    yield PushedRepository(registry if slash else "", name)


def _of_ours(names: list[Any]) -> Iterator[PushedRepository]:
    for name in names[:MOST_EVENTS]:
        registry, slash, rest = _text(name).partition("/")
        if not slash or not rest:
            raise MalformedEvent('"repositories" has to name them with their registry')
        yield PushedRepository(registry, rest)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
