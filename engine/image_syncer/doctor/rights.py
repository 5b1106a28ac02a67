"""What we may do: the scopes of a token, and whether a push would be let in, which is found out without writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from image_syncer.doctor.check import Check, failed, fine, skipped, warned
from image_syncer.doctor.claims import read_claims
from image_syncer.errors import AuthenticationError
from image_syncer.oci import digest_of
from image_syncer.registry import Operation, Request, is_page, pull_scope, push_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.doctor.examined import Subject

__all__ = ["READ_ONLY", "probe_push", "probe_scopes"]

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _NOT_ALLOWED, _BAD_REQUEST = 401, 403, 404, 405, 400
_OPTIONS_STATUSES = (200, 204)
_NO_PULL = "Ask who runs the registry for the right to pull from {repository}; it may also not exist there."
_NO_PUSH = "Where images are to be copied to {repository}, ask who runs the registry for the right to push."
READ_ONLY = (
    "The registry, or a proxy in front of it, takes no writes (maintenance, a mirror): copy to another, or have writes "
    "switched on."
)


async def probe_scopes(examined: Subject) -> Check:
    """Which rights the token service grants: asked for pulling, and for pulling and pushing."""
    repository, challenge = examined.repository, examined.learnt.challenge
    if repository is None or challenge is None or challenge.scheme == "basic":
        return skipped("there are none without a token" if repository else "there are none without a repository")
    assert examined.learnt.authorization is not None
    pull = read_claims(examined.learnt.authorization.value)
    granted = pull.actions_on(pull_scope(repository)) if pull else None
    try:
        push_value = (await examined.broker.authorize(examined.endpoint, repository, (push_scope(repository),))).value
    except AuthenticationError as error:
        return _missing(examined, "push", error.message, sorted(granted or ()))
    both = read_claims(push_value)
    with_push = both.actions_on(push_scope(repository)) if both else None
    if granted is None or with_push is None:
        return fine("a token for each; they do not show what they are good for", granted=None)
    all_granted = sorted(granted | with_push)
    if "pull" not in all_granted and "*" not in all_granted:
        return failed(
            f"the token carries no right to pull from {repository}: it has {_listed(all_granted)}",
            _NO_PULL.format(repository=repository),
            granted=all_granted,
        )
    if "push" not in all_granted and "*" not in all_granted:
        return _missing(examined, "push", f"the token carries {_listed(all_granted)}, and no push", all_granted)
    return fine(_listed(all_granted), granted=all_granted)


async def probe_push(examined: Subject) -> Check:
    """Whether a push would be let in: asked with a PUT of nothing for an upload session that does not exist, under a
    digest that nothing has not. Nothing can come of it.

    Who may push is told that there is no such session (404, 400); who may not gets 401 or 403. A registry that takes no
    writes at all may say so (405), or in what it says that it allows (`Allow`).
    """
    repository = examined.repository
    assert repository is not None
    uploads = f"{examined.endpoint.base_url}/v2/{repository.name}/blobs/uploads/"
    nowhere = f"{uploads}{uuid4()}?digest={quote(digest_of(uuid4().bytes), safe='')}"
    headers = (("Content-Type", "application/octet-stream"),)
    scopes = (push_scope(repository),)
    request = Request(Operation.PUT_UPLOAD, "PUT", nowhere, repository, headers=headers, body=b"", scopes=scopes)
    try:
        response = await examined.exchange(request)
    except AuthenticationError as error:
        return _refused(examined, error.message, error.hint)
    refusal = examined.failure(response, request)
    facts: dict[str, Any] = {"status": response.status, "codes": list(refusal.codes)}
    if response.status in (_UNAUTHORIZED, _FORBIDDEN):
        return _refused(examined, refusal.message, refusal.hint, **facts)
    if response.status == _NOT_ALLOWED or "UNSUPPORTED" in refusal.codes:
        return _grave(examined)(f"the registry takes no writes: {refusal.message}", READ_ONLY, **facts)
    if response.status not in (_NOT_FOUND, _BAD_REQUEST) or is_page(response):
        return skipped(f"cannot be told without writing ({response.status}): add --write", **facts)
    options = await examined.exchange(Request(Operation.START_UPLOAD, "OPTIONS", uploads, repository, scopes=scopes))
    allowed = options.headers.get("Allow", "") if options.status in _OPTIONS_STATUSES else ""
    if allowed and "POST" not in allowed.upper():
        text = f"the registry takes no writes: of uploads it allows {allowed} only"
        return _grave(examined)(text, READ_ONLY, allowed=allowed, **facts)
    return fine("a push is let in" + ("" if examined.write else "; to try uploads, add --write"), **facts)


def _refused(examined: Subject, what: str, hint: str | None, **facts: object) -> Check:
    cure = _NO_PUSH.format(repository=examined.repository)
    return _grave(examined)(f"a push is not let in: {what}", cure if hint is None else f"{hint} {cure}", **facts)


def _missing(examined: Subject, right: str, what: str, granted: list[str]) -> Check:
    cure = _NO_PUSH.format(repository=examined.repository)
    return _grave(examined)(what, cure, granted=granted, missing=[right])


def _grave(examined: Subject) -> Callable[..., Check]:
    """Who only reads need not be able to write."""
    return failed if examined.write else warned


def _listed(actions: list[str]) -> str:
    return ", ".join(actions) or "nothing"
