"""Rules that more than one double has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded.refusal import Refusal

if TYPE_CHECKING:
    from aiohttp import web

    from image_syncer.embedded.call import Call
    from image_syncer.embedded.doubles.double import Rule

__all__ = [
    "NGINX_413",
    "count_pull",
    "cut_page",
    "ignore_post_body",
    "mount_inside",
    "names_below",
    "no_cancel",
    "no_status",
    "refuse_catalog",
    "refuse_long_body",
    "refuse_mount_without_from",
]


NGINX_413 = (
    "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n"
    "<center><h1>413 Request Entity Too Large</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
"""What nginx says of a body that is longer than its client_max_body_size."""


def no_cancel(call: Call) -> None:  # noqa: ARG001 - a rule like the others
    """Upload sessions end by themselves only."""
    raise Refusal(405, "UNSUPPORTED", "the operation is unsupported", quirk="cancel refused")


def no_status(call: Call) -> None:  # noqa: ARG001 - a rule like the others
    """A session does not tell how far it has come."""
    raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", quirk="session status refused")


def count_pull(call: Call, response: web.Response) -> None:  # noqa: ARG001 - a change like the others
    """A GET of a manifest counts as a pull, a HEAD does not."""
    call.meet("pull counted")


def refuse_catalog(call: Call) -> None:  # noqa: ARG001 - a rule like the others
    """`/v2/_catalog` is for nobody who uses the registry."""
    raise Refusal(401, "UNAUTHORIZED", "authentication required", quirk="catalog closed")


def names_below(call: Call, before: str, after: str, missing: str) -> list[str]:
    """The repositories of the namespace, or group, that stands between `before` and `after` in the path of a request
    to the host of the registry's own API; with the words of `missing`, there is none.
    """
    path = call.request.path
    if not call.on_companion or not path.endswith(after):
        raise Refusal(404, "NOT_FOUND", "there is nothing here")
    place = path[len(before) : -len(after)]
    names = [name for name in call.storage.repositories() if name.startswith(f"{place}/")]
    if not names:
        raise Refusal(404, "NOT_FOUND", missing)
    return names


def cut_page(call: Call, names: list[str], most: int) -> tuple[list[str], int | None, int]:
    """The page of `names` that the query asks for by `page` and `page_size` (at most `most`), the number of the next
    page (None after the last), and the size of pages.
    """
    try:
        page, size = (int(call.request.query.get(key, usual)) for key, usual in (("page", "1"), ("page_size", "10")))
    except ValueError:
        raise Refusal(400, "BAD_REQUEST", "page and page_size are numbers") from None
    if page < 1 or not 1 <= size <= most:
        raise Refusal(422, "UNPROCESSABLE_ENTITY", f"page_size in query should be less than or equal to {most}")
    size = min(size, call.behaviour.max_page_size)
    return names[(page - 1) * size : page * size], page + 1 if page * size < len(names) else None, size


def ignore_post_body(call: Call) -> None:
    """A POST that brings the blob opens a session, and no more."""
    if "digest" in call.request.query and call.request.can_read_body:
        call.meet("post body ignored")


def refuse_mount_without_from(call: Call) -> None:
    """A mount must say from where."""
    if "mount" in call.request.query and "from" not in call.request.query:
        raise Refusal(400, "INVALID_REQUEST", "Invalid request", quirk="mount without from")


def mount_inside(parts: int, refusal: Refusal | None = None) -> Rule:
    """Mounts only between repositories whose first `parts` parts are the same; others open a session, or get
    `refusal`.
    """

    def rule(call: Call) -> None:
        source = call.request.query.get("from")
        if "mount" not in call.request.query or source is None:
            return
        if source.split("/")[:parts] == call.repository.split("/")[:parts]:
            return
        if refusal is not None:
            raise refusal
        call.may_mount = False

    return rule


def refuse_long_body(limit_bytes: int, page: str) -> Rule:
    """A body of more than `limit_bytes` is answered by the load balancer, with its page."""

    def rule(call: Call) -> None:
        if (call.request.content_length or 0) > limit_bytes:
            raise Refusal(413, "SIZE_INVALID", "the body is too long", quirk="body too long", page=page)

    return rule
