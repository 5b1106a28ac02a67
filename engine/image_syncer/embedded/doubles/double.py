"""A double: one kind of registry as the embedded one imitates it, with the rules that several doubles share.

Behaviour that several registries share is a switch of `Behaviour`; behaviour of one or two registries is a rule here.
Each rule reports the quirk that it applied to the counters, so that a test can check that a client handled it.
Doubles follow what the makers and users of a registry say (with the source at each double), never the engine's own
profiles, so that a mistake in one of the two shows in tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from aiohttp import web
from msgspec import field

from image_syncer.embedded.call import Refusal
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from image_syncer.embedded.behaviour import Behaviour
    from image_syncer.embedded.call import Call
    from image_syncer.embedded.route import RequestKind


PASSWORD = "double-password"  # noqa: S105 - the documented password of a registry for tests
"""The password of every double that asks for one."""

Rule: TypeAlias = "Callable[[Call], None]"
"""Checks a request before it is served; raises Refusal, or a ConnectionError if it cut the connection."""

Phrase: TypeAlias = "Callable[[Call, Refusal], Refusal]"
"""Replaces the refusal of a `Behaviour` switch by the one of this registry."""

Change: TypeAlias = "Callable[[Call, web.Response], None]"
"""Changes an answer that is not a stream."""


async def _no_api(_call: Call) -> web.StreamResponse:
    raise Refusal(404, "UNSUPPORTED", "there is nothing here")


class Double(Value, frozen=True):
    """One kind of registry: its switches, and its rules by kind of request.

    `phrases` are refusals in the registry's words, by quirk. `headers` are on every answer that is not a stream.
    `owned` are the methods and path prefixes that `answer` serves beside the distribution API: the registry's own API.
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
        """A user with all rights, and the password; None if the registry asks for none."""
        return next(iter(self.behaviour.users.items()), None)

    def owns(self, request: web.BaseRequest) -> bool:
        """Whether the registry's own API serves the request."""
        return any(
            request.method == method and (request.path == path or (path != "/" and request.path.startswith(path)))
            for method, path in self.owned
        )

    def rephrase(self, call: Call, refusal: Refusal) -> Refusal:
        """Return the refusal in the words of this registry."""
        phrase = self.phrases.get(refusal.quirk)
        return refusal if phrase is None else phrase(call, refusal)

    def check(self, call: Call) -> None:
        """Apply the rules for the request; raises what a rule raises."""
        for rule in self.before.get(call.route.kind, ()):
            rule(call)

    def change(self, call: Call, response: web.StreamResponse) -> None:
        """Change the answer to the one that this registry gives."""
        for change in self.after.get(call.route.kind, ()):
            assert isinstance(response, web.Response)
            change(call, response)


def refuse(
    status: int,
    code: str,
    message: str,
    quirk: str,
    *,
    when: Callable[[Call], object] = lambda _call: True,
    page: str | None = None,
) -> Rule:
    """Return the rule that refuses the requests for which `when` is true."""

    def rule(call: Call) -> None:
        if when(call):
            raise Refusal(status, code, message, quirk=quirk, page=page)

    return rule


def say(status: int, code: str, message: str, *, detail: object = None, page: str | None = None) -> Phrase:
    """Return the phrase with this `message`, which may contain {repository} and {reference}."""

    def phrase(call: Call, _refusal: Refusal) -> Refusal:
        text = message.format(repository=call.repository, reference=call.route.reference)
        return Refusal(status, code, text, detail=detail, page=page)

    return phrase


no_cancel = refuse(405, "UNSUPPORTED", "the operation is unsupported", "cancel refused")
no_status = refuse(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", "session status refused")
no_catalog = refuse(401, "UNAUTHORIZED", "authentication required", "catalog closed")
no_mount_without_from = refuse(
    400,
    "INVALID_REQUEST",
    "Invalid request",
    "mount without from",
    when=lambda call: "mount" in call.request.query and "from" not in call.request.query,
)


def refuse_long_body(limit_bytes: int, page: str) -> Rule:
    """Return the rule of a load balancer that answers longer bodies with its own page."""
    return refuse(
        413,
        "SIZE_INVALID",
        "the body is too long",
        "body too long",
        when=lambda call: (call.request.content_length or 0) > limit_bytes,
        page=page,
    )


def ignore_post_body(call: Call) -> None:
    """Count a POST with the whole blob, which only opens a session."""
    if "digest" in call.request.query and call.request.can_read_body:
        call.meet("post body ignored")


def mount_within_owner(call: Call) -> None:
    """Mount only between repositories whose first part is the same; other mounts open a session."""
    source = call.request.query.get("from")
    if "mount" in call.request.query and source is not None:
        call.may_mount = source.split("/")[0] == call.repository.split("/")[0]


def names_below(call: Call, before: str, after: str, missing: str) -> list[str]:
    """Return the repositories of the namespace that the path names between `before` and `after`.

    The request must go to the host of the registry's own API. Without such repositories, refuses with `missing`.
    """
    path = call.request.path
    if not call.on_companion or not path.endswith(after):
        raise Refusal(404, "NOT_FOUND", "there is nothing here")
    namespace = path[len(before) : -len(after)]
    names = [name for name in call.storage.repositories() if name.startswith(f"{namespace}/")]
    if not names:
        raise Refusal(404, "NOT_FOUND", missing)
    return names


def read_numbers(call: Call, **usual: int) -> list[int]:
    """Return the numbers that the query has by these names, or the usual ones. Refuses a query with other texts."""
    try:
        return [int(call.request.query.get(name, number)) for name, number in usual.items()]
    except ValueError:
        raise Refusal(400, "BAD_REQUEST", f"{' and '.join(usual)} are numbers") from None


def cut_page(call: Call, names: list[str], most: int) -> tuple[list[str], int | None, int]:
    """Return the page of `names` that the query asks for, the number of the next page (None: last), and the page size.

    The query has `page` and `page_size`, which is at most `most`.
    """
    page, size = read_numbers(call, page=1, page_size=10)
    if page < 1 or not 1 <= size <= most:
        raise Refusal(422, "UNPROCESSABLE_ENTITY", f"page_size in query should be less than or equal to {most}")
    size = min(size, call.behaviour.max_page_size)
    return names[(page - 1) * size : page * size], page + 1 if page * size < len(names) else None, size


def change_json(response: web.Response, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the JSON object in the body of `response`."""
    assert isinstance(response.body, bytes)
    data = orjson.loads(response.body)
    change(data)
    response.body = orjson.dumps(data)


def json_answer(data: object, status: int = 200, content_type: str = "application/json") -> web.Response:
    """Return an answer with `data` as JSON."""
    return web.Response(status=status, body=orjson.dumps(data), content_type=content_type)
