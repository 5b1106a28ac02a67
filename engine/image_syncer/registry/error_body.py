"""What the body of a failure says: the registry's JSON, a proxy's HTML, a storage's XML, plain text or
nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson

from image_syncer.errors import redact
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.registry.message import Response

__all__ = ["ErrorBody", "parse_error_body"]

_MAX_JSON_BYTES = 64 * 1024
_MAX_TEXT_BYTES = 8 * 1024
_MAX_LINE_CHARS = 240
_MAX_REDACTED_CHARS = 2048
_MAX_ERRORS = 3

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MARKUP = re.compile(r"\s*<")
_TITLE = re.compile(r"<(title|h1)[^<>]*>([^<>]+)<", re.IGNORECASE)
_XML_CODE = re.compile(r"<Code>([^<>]+)<")
_XML_MESSAGE = re.compile(r"<Message>([^<>]+)<")


class ErrorBody(Value, frozen=True):
    """What a failed answer says of itself.

    `codes` are the registry's error codes in capitals, `line` is one line for people ("" for nothing), `text`
    the first 8 KiB in lower case, to look for words in.
    """

    codes: tuple[str, ...] = ()
    line: str = ""
    text: str = ""
    is_markup: bool = False


def parse_error_body(response: Response) -> ErrorBody:
    """Read the body of a failure (OCI distribution specification 1.1, section "Error Codes", and what the
    world adds).

    Never raises. Secrets are taken out of `line`, which ends after 240 characters.
    """
    text = response.body[:_MAX_TEXT_BYTES].decode("utf-8", "replace")
    lowered = text.lower()
    found = _from_json(response.body)
    if found is None:
        is_markup = _MARKUP.match(text) is not None
        line = _from_markup(text) if is_markup else _first_line(text)
        return ErrorBody((), _one_line(line, response.status), lowered, is_markup)
    codes, line = found
    return ErrorBody(codes, _one_line(line, response.status), lowered)


def _from_json(body: bytes) -> tuple[tuple[str, ...], str] | None:
    if len(body) > _MAX_JSON_BYTES:
        return None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    errors = value.get("errors")
    entries = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    if not entries:
        # Token services and gateways: {"code":…,"message":…}, {"error":…,"error_description":…},
        # {"details":…}
        nested = value.get("error")
        entries = [nested if isinstance(nested, dict) else value]
    pairs = [_code_and_message(each) for each in entries[:_MAX_ERRORS]]
    codes = tuple(dict.fromkeys(code for code, _ in pairs if code))
    return codes, "; ".join(": ".join(filter(None, pair)) for pair in pairs if any(pair))


def _code_and_message(entry: dict[str, object]) -> tuple[str, str]:
    code = _text(entry, "code", "error")
    message = _text(entry, "message", "error_description", "details", "msg", "error")
    if message == code and not _CODE.fullmatch(code):
        code = ""  # {"error": "a sentence"}
    code = code.upper() if _CODE.fullmatch(code) else ""
    if message.upper() == code:
        message = ""
    return code, " ".join(filter(None, (message, _detail(entry.get("detail"), message))))


def _detail(detail: object, message: str) -> str:
    """What `detail` adds for people: a sentence, or the digest of the blob that is missing."""
    if isinstance(detail, dict):
        detail = detail.get("digest") or detail.get("message")
    return f"({detail})" if isinstance(detail, str) and detail and detail not in message else ""


def _text(entry: dict[str, object], *keys: str) -> str:
    return next((value for key in keys if isinstance(value := entry.get(key), str) and value), "")


def _from_markup(text: str) -> str:
    code, message = _XML_CODE.search(text), _XML_MESSAGE.search(text)
    if code or message:
        return ": ".join(match[1] for match in (code, message) if match)
    title = _TITLE.search(text)
    return title[2] if title else ""


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")


def _one_line(text: str, status: int) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text[:_MAX_REDACTED_CHARS])
    line = " ".join(printable.split())
    if line.startswith(f"{status} "):  # "404 page not found": the status is said already
        line = line[len(str(status)) :].lstrip(" :–-")
    line = redact(line)  # before it is cut to its length: half a secret is not recognised
    return line if len(line) <= _MAX_LINE_CHARS else f"{line[: _MAX_LINE_CHARS - 1]}…"
