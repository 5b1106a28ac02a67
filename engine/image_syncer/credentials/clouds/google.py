"""Google Container Registry and Artifact Registry: an access token of google-auth (application default credentials:
a service account's key, a user's login, workload identity federation, the metadata server), or the key itself.

cloud.google.com/artifact-registry/docs/docker/authentication: user `oauth2accesstoken` with a token for an hour, or
user `_json_key` with the content of a key file.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from datetime import timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_syncer.credentials.clouds.grant import ExtraMissingError, Grant, NoIdentityError
from image_syncer.credentials.clouds.web import Unreachable, ask_web
from image_syncer.credentials.failure import CredentialError
from image_syncer.registry import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.credentials.clouds.place import CloudPlace

__all__ = ["METADATA_TIMEOUT_S", "ask_google"]

TOKEN_USER = "oauth2accesstoken"  # noqa: S105 - the name of a user
KEY_USER = "_json_key"
METADATA_TIMEOUT_S = 1.5
"""Off the cloud nobody answers; on it, the metadata server does in milliseconds."""
REQUEST_TIMEOUT_S = 10.0
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_MAX_KEY_BYTES = 2**16
_HINT = (
    "Log in again: gcloud auth application-default login; or see the file that GOOGLE_APPLICATION_CREDENTIALS names."
)
_MAX_WORDS = 200


def ask_google(place: CloudPlace, environ: Mapping[str, str]) -> Grant:
    """The credential for a registry. What a file says comes first, then the metadata server of the machine.

    Raises NoIdentityError, ExtraMissingError, CredentialError.
    """
    path = _file(environ)
    if path is None and not _on_google(environ):
        raise NoIdentityError
    try:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
    except ImportError:
        return _key(path, place)
    try:
        if path is None:
            from google.auth.compute_engine import Credentials

            credentials = Credentials()
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about quotas, which registries do not count
                credentials, _project = google.auth.default(scopes=[_SCOPE], request=_request)
        credentials.refresh(_request)
    except GoogleAuthError as error:
        words = str(error.args[0] if error.args else error).partition("\n")[0][:_MAX_WORDS]
        raise CredentialError(
            f"Google gave no token for {place.registry}: {type(error).__name__}: {words}", hint=_HINT
        ) from None
    except (OSError, ValueError) as error:
        raise CredentialError(
            f"Google's credentials on this machine cannot be used: {type(error).__name__}", hint=_HINT
        ) from None
    expiry = credentials.expiry
    lives_s = None if expiry is None else max(expiry.replace(tzinfo=timezone.utc).timestamp() - time.time(), 0.0)
    source = "Google Cloud (metadata server)" if path is None else f"Google Cloud ({path})"
    return Grant(Credential(TOKEN_USER, credentials.token), source, lives_s)


def _file(environ: Mapping[str, str]) -> Path | None:
    """The file of application default credentials: the one that is named, or the one that gcloud leaves."""
    if named := environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return Path(named)
    folder = environ.get("CLOUDSDK_CONFIG")
    home = environ.get("HOME")
    path = Path(folder) if folder else (Path(home) if home else Path("~").expanduser()) / ".config" / "gcloud"
    path /= "application_default_credentials.json"
    return path if os.path.lexists(path) else None


def _on_google(environ: Mapping[str, str]) -> bool:
    """Whether a metadata server answers (cloud.google.com/compute/docs/metadata/querying-metadata)."""
    if environ.get("NO_GCE_CHECK", "").lower() == "true":
        return False
    host = environ.get("GCE_METADATA_HOST") or environ.get("GCE_METADATA_IP") or "169.254.169.254"
    try:
        answer = ask_web(
            f"http://{host}/", headers={"Metadata-Flavor": "Google"}, timeout_s=METADATA_TIMEOUT_S, direct=True
        )
    except Unreachable:
        return False
    return answer.headers.get("metadata-flavor") == "Google"


def _key(path: Path | None, place: CloudPlace) -> Grant:
    """Without google-auth: the key of a service account is a password as it is."""
    if path is None:
        raise ExtraMissingError
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_KEY_BYTES).decode()
        kind = json.loads(text).get("type")
    except (OSError, ValueError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no JSON object"
        raise CredentialError(f"{path} cannot be used for {place.registry}: {reason}", hint=_HINT) from None
    if kind != "service_account":
        raise ExtraMissingError
    return Grant(Credential(KEY_USER, text), f"the key in {path}", None)


class _Response:
    """An answer in google-auth's terms (`google.auth.transport.Response`)."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data


def _request(
    url: str,
    method: str = "GET",
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    **_more: Any,
) -> _Response:
    """A request in google-auth's terms (`google.auth.transport.Request`), over our own client: theirs needs
    `requests`.
    """
    from google.auth.exceptions import TransportError

    data = body.encode() if isinstance(body, str) else body
    timeout_s = min(timeout or REQUEST_TIMEOUT_S, REQUEST_TIMEOUT_S)
    try:
        answer = ask_web(
            url,
            method=method,
            headers=headers,
            body=data,
            timeout_s=timeout_s,
            direct="Metadata-Flavor" in (headers or {}),
        )
    except Unreachable as error:
        raise TransportError(str(error)) from None
    return _Response(answer.status, answer.headers, answer.body)
