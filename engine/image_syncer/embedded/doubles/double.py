"""A double: one kind of registry as the embedded one acts it, with all that it does otherwise than the specification.

What several registries do is a switch of `Behaviour`; what only one or two do is a rule here. A rule before a request
refuses it (`Refusal`), or cuts it, or lets it pass; one after it changes the answer. Each tells the counters (`meet`)
by which quirk a request was caught, so that a test can see whether a client knew it.

Doubles are written from what the registries' makers and users say (each file names its sources), and from nothing that
the engine knows about them: what both sides believe, each on its own, may be trusted a little more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from aiohttp import web
from msgspec import field

from image_syncer.embedded.refusal import Refusal
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from image_syncer.embedded.behaviour import Behaviour
    from image_syncer.embedded.call import Call
    from image_syncer.embedded.route import RequestKind

__all__ = ["PASSWORD", "Change", "Double", "Phrase", "Rule", "change_json", "json_answer"]

PASSWORD = "double-password"  # noqa: S105 - the documented password of a registry for tests
"""What every double that asks for a password takes."""

Rule: TypeAlias = "Callable[[Call], None]"
"""Looks at a request before it is served; raises Refusal, or a ConnectionError where it cut the connection."""

Phrase: TypeAlias = "Callable[[Call, Refusal], Refusal]"
"""Says no as this registry does, where a switch of `Behaviour` said it."""

Change: TypeAlias = "Callable[[Call, web.Response], None]"
"""Changes an answer that is not a stream."""


async def _no_api(_call: Call) -> web.StreamResponse:
    raise Refusal(404, "UNSUPPORTED", "there is nothing here")


class Double(Value, frozen=True):
    """One kind of registry: its switches, and its rules by kind of request.

    `phrases` say no in the registry's words, by the quirk that was met. `headers` are on every answer that is no
    stream. `owned` are the methods and beginnings of paths that `answer` serves beside the distribution API: the
    registry's own.
    """

    name: str
    title: str
    behaviour: Behaviour
    before: Mapping[RequestKind, tuple[Rule, ...]] = field(default_factory=dict)
    after: Mapping[RequestKind, tuple[Change, ...]] = field(default_factory=dict)
    phrases: Mapping[str, Phrase] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    owned: tuple[tuple[str, str], ...] = ()
    answer: Callable[[Call], Awaitable[web.StreamResponse]] = _no_api

    @property
    def credential(self) -> tuple[str, str] | None:
        """A user who may do everything, and the password; None where nobody is asked for one."""
        return next(iter(self.behaviour.users.items()), None)

    def owns(self, request: web.BaseRequest) -> bool:
        """Whether the registry's own API serves the request."""
        return any(
            request.method == method and (request.path == path or (path != "/" and request.path.startswith(path)))
            for method, path in self.owned
        )

    def rephrase(self, call: Call, refusal: Refusal) -> Refusal:
        """The refusal in the words of this registry."""
        phrase = self.phrases.get(refusal.quirk)
        return refusal if phrase is None else phrase(call, refusal)

    def check(self, call: Call) -> None:
        """Refuse the request where a rule does."""
        for rule in self.before.get(call.route.kind, ()):
            rule(call)

    def change(self, call: Call, response: web.StreamResponse) -> None:
        """Let the answer be as this registry gives it."""
        for change in self.after.get(call.route.kind, ()):
            assert isinstance(response, web.Response)
            change(call, response)


def change_json(response: web.Response, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the JSON object that `response` carries."""
    assert isinstance(response.body, bytes)
    data = orjson.loads(response.body)
    change(data)
    response.body = orjson.dumps(data)


def json_answer(data: object, status: int = 200, content_type: str = "application/json") -> web.Response:
    """An answer that carries `data`."""
    return web.Response(status=status, body=orjson.dumps(data), content_type=content_type)
