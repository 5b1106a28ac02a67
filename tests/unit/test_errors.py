from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from image_syncer import errors
from image_syncer.errors import (
    ConfigurationError,
    IntegrityError,
    NotAskedError,
    NotFoundError,
    Origin,
    Problem,
    RateLimitedError,
    RefusedError,
    RegistryDownError,
    RegistryError,
    SyncError,
    TransportError,
    UnavailableError,
    WorkerError,
    keep_out,
    redact,
    visible,
)

ERRORS = [value for name in errors.__all__ if isinstance(value := getattr(errors, name), type)]
KINDS = [kind for kind in ERRORS if issubclass(kind, SyncError)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://jo:hunter2@h/v2/", "GET https://…@h/v2/"),
        ("https://hunter2@h", "https://…@h"),
        ("https://jo:hun@ter2@h/v2/", "https://…@h/v2/"),
        ("see ftp://jo:hunter2@h and HTTPS://jo:hunter2@h", "see ftp://…@h and HTTPS://…@h"),
        ("https://h/v2/x?X-Amz-Signature=hunter2&a=b ended", "https://h/v2/x?… ended"),
        ("https://h/v2/x?hunter2", "https://h/v2/x?…"),
        ("Location: /v2/x/blobs/uploads/1?_state=hunter2%3D", "Location: /v2/x/blobs/uploads/1?…"),
        ("Authorization: Basic YTpi", "Authorization: …"),
        ("authorization: bearer hunter2", "authorization: …"),
        ("{'Authorization': 'Basic YTpi', 'A': 1}", "{'Authorization': '…', 'A': 1}"),
        ("sent Bearer hunter2hunter2.x-y_z/+= and more", "sent Bearer … and more"),
        ("a token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln was", "a token … was"),
        ("cut off: eyJhbGciOiJSUzI1NiIsInR5", "cut off: …"),
        ("password=hunter2", "password=…"),
        ("password = ab;", "password = …"),
        ("password:hunter2", "password:…"),
        ("passwd: it's,hunter2 x", "passwd: … x"),
        ("token=hunter2&x=y", "token=…&x=y"),
        ("REGISTRY_PASSWORD=hunter2", "REGISTRY_PASSWORD=…"),
        ("aws_secret_access_key = hunter2/+", "aws_secret_access_key = …"),
        ("spring.registry.passphrase=hunter2", "spring.registry.passphrase=…"),
        ("identitytoken: hunter2", "identitytoken: …"),
        ("accessToken='hun\\'ter2'", "accessToken='…'"),
        ("(api_key=hunter2)", "(api_key=…)"),
        ("password=true-hunter2", "password=…"),
        ('{"auth":"dXNlcjpodW50ZXIy"}', '{"auth":"…"}'),
        ('{"password": "hun ter2, 3}", "user": "jo"}', '{"password": "…", "user": "jo"}'),
        ('{"password": "hun\\"ter2", "user": "jo"}', '{"password": "…", "user": "jo"}'),
        ('{"password": "hunter2 cut off', '{"password": "…'),
        (r'"{\"client_secret\":\"hun\\\"ter2\", \"x\": 1}"', r'"{\"client_secret\":\"…\", \"x\": 1}"'),
        ("X-Registry-Auth: eyJ1c2VyIjoiYSJ9", "X-Registry-Auth: …"),
    ],
)
def test_a_secret_is_taken_out(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "quay.io/external-secrets/external-secrets:v0.9.0: not found",
        "quay.io/team/my-token: not found",
        "GET https://auth.example/token: answered 401",
        "https://auth:5001/token and http://token:5001/",
        "https://localhost:5000/v2/x@sha256:0123",
        'docker.io/library/nginx@sha256:0123, "jo@example.org"',
        '{"get token": 1200, "put upload": 3}',
        '{"password": null, "token": false}',
        "the registry wants Basic authentication",
        "the token service at https://t/ answered 200 without a token",
        "which one? that one",
        "no tag fits 'v1.?5' or ^(?:a|b)$",
        "authority=x, author: jo",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


WORDS = [*"ab1 ?=&:/@\"'\\{},;.-_…\n", "token", "password", "auth", "Basic ", "://", "eyJ"]
texts = st.lists(st.sampled_from(WORDS)).map("".join)


@given(texts)
def test_what_is_redacted_stays_as_it_is(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(texts.map("<{}>".format), st.sampled_from(["password", "token"]))
@example('<?b=x"hunter2>', "password")
def test_a_secret_in_json_is_taken_out_whatever_it_is(secret: str, key: str) -> None:
    body = json.dumps({key: secret, "user": "jo"}, ensure_ascii=False)
    shown = json.dumps({key: "…", "user": "jo"}, ensure_ascii=False)
    assert redact(body) == shown
    assert redact(json.dumps({"body": body}, ensure_ascii=False)) == json.dumps({"body": shown}, ensure_ascii=False)


@pytest.mark.parametrize(
    "part",
    [
        "a",
        "a-",
        "a://",
        "a://@",
        "://",
        "?",
        "?a",
        "token",
        "auth",
        "eyJ",
        "\\",
        "basic ",
        'password="',
        "secret ",
        "a.",
    ],
)
def test_the_time_for_a_strangers_text_does_not_grow_with_its_square(part: str) -> None:
    # With one in the square this many would take hours, not a second.
    assert isinstance(redact(part * (200_000 // len(part))), str)


def filled(kind: type[SyncError]) -> SyncError:
    """An error of this kind with every field set to something."""
    fields: dict[str, Any] = {
        "origin": Origin.DESTINATION,
        "operation": "put upload",
        "repository": "r.example/team/app",
        "reference": "v1",
        "digest": "sha256:" + "0" * 64,
        "hint": "do this",
        "retryable": True,
        "tries": 3,
        "tried_for_s": 2.5,
        "history": [{"at_s": 0.5, "what": "it broke", "pause_s": 1.0}, {"at_s": 2.5, "what": "it broke"}],
        "registry": "r.example",
        "since": "2026-11-24T15:52:45+00:00",
        "request": "PUT https://r.example/v2/",
        "status": 500,
        "codes": ("UNKNOWN", "DENIED"),
        "retry_after_s": 1.5,
        "request_ids": {"X-Request-Id": "5f1c"},
        "phase": "send",
        "curl_code": 56,
        "expected": "5 bytes",
        "actual": "4 bytes",
    }
    names = (*SyncError._FIELDS, *kind._extra)
    return kind("it broke", origin=Origin.DESTINATION, **{name: fields[name] for name in names})


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_crosses_a_process_as_data(kind: type[SyncError]) -> None:
    error = filled(kind)
    data = json.loads(json.dumps(error.to_data()))
    again = SyncError.from_data(data)
    assert type(again) is kind
    assert vars(again) == vars(error)
    assert str(again) == str(error)
    assert json.loads(json.dumps(again.to_data())) == data


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_that_knows_nothing_crosses_as_well(kind: type[SyncError]) -> None:
    error = kind("it broke")
    again = SyncError.from_data(json.loads(json.dumps(error.to_data())))
    assert type(again) is kind
    assert vars(again) == vars(error)


def test_every_kind_has_a_name_of_its_own() -> None:
    assert len({kind.kind for kind in KINDS}) == len(KINDS) == 16
    assert all(kind.__doc__ for kind in KINDS)


def test_an_unknown_kind_is_a_plain_error() -> None:
    again = SyncError.from_data({"kind": "from the future", "message": "it broke", "side": "source", "colour": "red"})
    assert (type(again), again.message, again.origin) == (SyncError, "it broke", Origin.SOURCE)


def test_secrets_are_removed_when_an_error_is_made() -> None:
    url = "https://jo:hunter2@h/v2/?sig=hunter2"
    for error in (
        RegistryError(f"cannot GET {url}", hint=f"look at {url}", request=f"GET {url}"),
        TransportError(f"cannot GET {url}", hint="password=hunter2", request=f"GET {url}"),
    ):
        assert "hunter2" not in f"{error} {error!r} {error.to_data()} {error.args} {vars(error)}"
        assert "GET https://…@h/v2/?…" in str(error)


def test_an_error_says_which_side_what_and_how_often() -> None:
    error = NotFoundError(
        "there is no such blob",
        origin=Origin.SOURCE,
        repository="r.example/team/app",
        reference="v1",
        digest="sha256:ab",
        tries=3,
        hint="push it again",
    )
    assert str(error) == (
        "source r.example/team/app:v1 sha256:ab: there is no such blob (tried 3 times)\n  push it again"
    )
    assert str(SyncError("no room")) == "no room"
    assert str(SyncError("no room", tries=2, tried_for_s=1.25)) == "no room (tried 2 times in 1.2 s)"
    assert str(SyncError("no room", tries=2, tried_for_s=754.0)) == "no room (tried 2 times in 754 s)"
    assert str(SyncError("gone", repository="r/x", reference="sha256:ab")) == "r/x@sha256:ab: gone"


def test_places_are_filled_in_where_they_were_not_known() -> None:
    error = SyncError("it broke", repository="r/x")
    located = error.located(repository="other", digest="sha256:ab")
    assert (located.repository, located.digest, located.reference) == ("r/x", "sha256:ab", None)
    assert (error.repository, error.digest) == ("r/x", None)


@pytest.mark.parametrize(
    ("kind", "retryable"),
    [
        (SyncError, False),
        (RegistryError, False),
        (RefusedError, False),
        (NotFoundError, False),
        (IntegrityError, False),
        (ConfigurationError, False),
        (RegistryDownError, False),
        (RateLimitedError, True),
        (NotAskedError, True),
        (UnavailableError, True),
        (TransportError, True),
        (WorkerError, True),
    ],
)
def test_whether_trying_again_helps(kind: type[SyncError], retryable: bool) -> None:
    assert kind("it broke").retryable is retryable
    assert kind("it broke", retryable=not retryable).retryable is not retryable
    assert SyncError.from_data(kind("it broke", retryable=False).to_data()).retryable is False


def test_a_configuration_error_holds_every_problem() -> None:
    problems = [
        Problem("auth.yaml", 3, "quay.io › username", "is missing", "add it"),
        Problem("command line", None, None, "is strange"),
    ]
    error = ConfigurationError(problems)
    assert error.problems == tuple(problems)
    assert error.message == "auth.yaml:3 [quay.io › username]: is missing → add it\ncommand line: is strange"
    assert (error.exit_code, SyncError("it broke").exit_code) == (2, 1)
    assert ConfigurationError("cannot be read").problems == ()


def test_what_is_kept_out_is_found_in_any_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for store in ("_lasting", "_passing"):
        monkeypatch.setattr(f"image_syncer.redaction.{store}", [])
    keep_out("tr0ubad0ur&3", None, "", "short1", "lettersalone")
    keep_out("a-token-123", passing=True)
    assert redact("the tr0ubad0ur&3 of short1 is no lettersalone, and a-token-123") == (
        "the … of short1 is no lettersalone, and …"
    )
    for number in range(100):
        keep_out(f"another-{number:03}", passing=True)
    assert redact("a-token-123 another-099 tr0ubad0ur&3") == "a-token-123 … …"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("X-Amz-Signature=hunter2&X-Amz-Date=1 is old", "X-Amz-Signature=…&X-Amz-Date=1 is old"),
        ("<Details>sig=hunter2</Details>", "<Details>sig=…</Details>"),
        ("_state=hunter2, sent", "_state=…, sent"),
        ("design=new", "design=new"),
    ],
)
def test_signatures_outside_of_addresses(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is: ü … →", "as it is: ü … →"),
        ("\x1b[2J\x9b0m\x07", "\\u001b[2J\\u009b0m\\u0007"),
        ("one\ntwo\r\tthree", "one\\ntwo\\r\\tthree"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("\U000e0041\ud800", "\\udb40\\udc41\\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(visible(text)) == shown
    assert json.loads(f'"{visible(text)}"') == text


def test_lines_of_problems_stay_lines() -> None:
    problems = [Problem("a.yaml", 1, "k", "one\x1b"), Problem("a.yaml", 2, "k", "two")]
    assert str(ConfigurationError(problems)).splitlines() == ["a.yaml:1 [k]: one\\u001b", "a.yaml:2 [k]: two"]
    assert RefusedError("one\ntwo").message == "one\\ntwo"


def test_a_field_of_an_error_is_set_once() -> None:
    error = errors.TransportError("broke", phase="send")
    for name in ("origin", "hint", "retryable", "phase"):
        with pytest.raises(AttributeError, match=name):
            setattr(error, name, None)
    error.__notes__ = ["seen by a debugger"]
    assert error.changed(retryable=False).__notes__ == ["seen by a debugger"]


def test_what_is_known_later_makes_a_new_error() -> None:
    cause = OSError("reset")
    error = errors.RegistryDownError("down", registry="one.example", since="now")
    error.__cause__ = cause
    located = error.located(origin=errors.Origin.SOURCE, repository="one.example/app", digest=None)
    assert (error.origin, error.repository) == (errors.Origin.LOCAL, None)
    assert (located.origin, located.repository) == (errors.Origin.SOURCE, "one.example/app")
    assert (type(located), located.registry, located.__cause__) == (errors.RegistryDownError, "one.example", cause)
    assert located.located(origin=errors.Origin.DESTINATION, repository="other") is located
    hinted = located.changed(hint="ask https://robot:secret@one.example")
    assert "secret" not in str(hinted.hint)
