"""Google Container Registry and Artifact Registry: an access token of google-auth, or the key of a service account.

cloud.google.com/artifact-registry/docs/docker/authentication: user `oauth2accesstoken` with a token for an hour, or
user `_json_key` with the content of a key file.
"""

from __future__ import annotations

import json
import os
import time
from datetime import timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from image_syncer.credentials.clouds.place import CloudGrant, ExtraMissingError, NoIdentityError
from image_syncer.credentials.clouds.web import Unreachable, ask_web
from image_syncer.credentials.found import CredentialError
from image_syncer.registry import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.credentials.clouds.place import CloudPlace


TOKEN_USER = "oauth2accesstoken"  # noqa: S105 - the name of a user
KEY_USER = "_json_key"
METADATA_TIMEOUT_S = 1.5
"""The metadata server answers in milliseconds; outside the cloud there is none."""
REQUEST_TIMEOUT_S = 10.0
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_MAX_KEY_BYTES = 2**16
_HINT = (
    "Log in again: gcloud auth application-default login; or see the file that GOOGLE_APPLICATION_CREDENTIALS names."
)
_MAX_WORDS = 200


def ask_google(place: CloudPlace, environ: Mapping[str, str]) -> CloudGrant:
    """Return the credential for a registry: of a file, else of the metadata server of the machine.

    Raises NoIdentityError, ExtraMissingError, CredentialError.
    """
    path = _file(environ)
    text = "" if path is None else _read(path, place)
    try:
        from google.auth.exceptions import GoogleAuthError
    except ImportError:
        return _key(path, text)
    if path is None and not _on_google(environ):
        raise NoIdentityError
    try:
        credentials = _credentials(json.loads(text) if text else {})
        credentials.refresh(_request)
    except GoogleAuthError as error:
        words = str(error.args[0] if error.args else error).partition("\n")[0][:_MAX_WORDS]
        raise CredentialError(
            f"Google gave no token for {place.registry}: {type(error).__name__}: {words}", hint=_HINT
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CredentialError(
            f"Google's credentials on this machine cannot be used: {type(error).__name__}", hint=_HINT
        ) from None
    expiry = credentials.expiry
    lives_s = None if expiry is None else max(expiry.replace(tzinfo=timezone.utc).timestamp() - time.time(), 0.0)
    source = "Google Cloud (metadata server)" if path is None else f"Google Cloud ({path})"
    return CloudGrant(Credential(TOKEN_USER, credentials.token), source, lives_s)


def _file(environ: Mapping[str, str]) -> Path | None:
    """Return the file of application default credentials: the named one, or that of gcloud."""
    if named := environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return Path(named)
    folder = environ.get("CLOUDSDK_CONFIG")
    home = environ.get("HOME")
    path = Path(folder) if folder else (Path(home) if home else Path("~").expanduser()) / ".config" / "gcloud"
    path /= "application_default_credentials.json"
    return path if os.path.lexists(path) else None


def _on_google(environ: Mapping[str, str]) -> bool:
    """Return whether a metadata server answers (cloud.google.com/compute/docs/metadata/querying-metadata)."""
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


def _credentials(info: Mapping[str, Any]) -> Any:
    """Return google-auth's credentials of a file, by its type; without a file, those of the machine.

    `google.auth.default` would also ask programs and services for the project.
    """
    kind = info.get("type")
    if not info:
        from google.auth import compute_engine

        return compute_engine.Credentials()
    if kind == "service_account":
        from google.oauth2 import service_account

        return service_account.Credentials.from_service_account_info(info, scopes=[_SCOPE])
    if kind == "authorized_user":
        from google.oauth2 import credentials

        return credentials.Credentials.from_authorized_user_info(info, scopes=[_SCOPE])
    if kind == "impersonated_service_account":
        from google.auth import impersonated_credentials

        return impersonated_credentials.Credentials.from_impersonated_service_account_info(info, scopes=[_SCOPE])
    if kind == "external_account_authorized_user":
        from google.auth import external_account_authorized_user

        return external_account_authorized_user.Credentials.from_info(info)
    if kind == "external_account":
        return _federated(info)
    raise ValueError


def _federated(info: Mapping[str, Any]) -> Any:
    """Workload identity federation (google.aip.dev/auth/4117): by where the token of the other side comes from."""
    from google.auth import aws, identity_pool, pluggable

    if info.get("subject_token_type") == "urn:ietf:params:aws:token-type:aws4_request":
        return aws.Credentials.from_info(info, scopes=[_SCOPE])
    if "executable" in info["credential_source"]:
        return pluggable.Credentials.from_info(info, scopes=[_SCOPE])
    return identity_pool.Credentials.from_info(info, scopes=[_SCOPE])


def _read(path: Path, place: CloudPlace) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_KEY_BYTES).decode()
        if isinstance(json.loads(text), dict):
            return text
        reason: str | None = "it holds no JSON object"
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no JSON object"
    raise CredentialError(f"{path} cannot be used for {place.registry}: {reason}", hint=_HINT)


def _key(path: Path | None, text: str) -> CloudGrant:
    """Return the key of a service account, which is a password without google-auth."""
    if path is None or json.loads(text).get("type") != "service_account":
        raise ExtraMissingError
    return CloudGrant(Credential(KEY_USER, text), f"the key in {path}", None)


class _Response(NamedTuple):
    """An answer in google-auth's terms (`google.auth.transport.Response`)."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def _request(
    url: str,
    method: str = "GET",
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    **_more: Any,
) -> _Response:
    """Send a request in google-auth's terms (`google.auth.transport.Request`); its own client needs `requests`."""
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
