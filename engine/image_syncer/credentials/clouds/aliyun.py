"""Alibaba Cloud Container Registry, enterprise edition: `GetAuthorizationToken` of its API of 2018-12-01.

help.aliyun.com/document_detail/72334.html. Calls are signed here (HMAC-SHA1 over the sorted parameters,
help.aliyun.com/document_detail/315526.html, "RPC"): the SDK brings a dozen packages, and its credentials package starts
a thread and writes to the terminal on import.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from base64 import b64encode
from configparser import ConfigParser
from configparser import Error as IniError
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from image_syncer.credentials.clouds.place import CloudGrant, NoIdentityError
from image_syncer.credentials.clouds.web import Answer, Unreachable, ask_web
from image_syncer.credentials.found import CredentialError
from image_syncer.registry import Credential
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.credentials.clouds.place import CloudPlace


REQUEST_TIMEOUT_S = 10.0
METADATA_TIMEOUT_S = 1.0
_VERSION = "2018-12-01"
_STS_VERSION = "2015-04-01"
_METADATA = "http://100.100.100.200"
_INSTANCE_PREFIX = "cri-"
_TOKEN_LIFE_S = 3600.0
_OK = 200
_MAX_CODE = 80
_HINT = "Check the access key, and that it may cr:GetAuthorizationToken and cr:ListInstance."


class AccessKey(Value, frozen=True):
    """Our identity at Alibaba Cloud, and its source."""

    key: str
    secret: str
    token: str | None = None
    source: str = "environment"

    __repr__ = repr_without("secret", "token")


def ask_aliyun(place: CloudPlace, environ: Mapping[str, str]) -> CloudGrant:
    """Return the credential for a registry, for an hour. Raises NoIdentityError, CredentialError."""
    access = _access_key(environ)
    if not place.region or not place.instance:
        raise CredentialError(
            f"the region and the instance of {place.registry} are not known",
            hint="Name both: cloud: {name: aliyun, region: cn-hangzhou, instance: cri-…}",
        )
    instance = place.instance
    if not instance.startswith(_INSTANCE_PREFIX):
        instance = _find_instance(place, access, instance)
    said = _call(place, access, {"Action": "GetAuthorizationToken", "InstanceId": instance})
    username, password = said.get("TempUsername"), said.get("AuthorizationToken")
    if not isinstance(username, str) or not isinstance(password, str) or not password:
        raise CredentialError(f"Alibaba Cloud answered for {place.registry} without a token that can be used")
    return CloudGrant(
        Credential(username, password), f"Alibaba Cloud ({access.source})", _life_s(said.get("ExpireTime"))
    )


def sign(parameters: Mapping[str, str], secret: str, method: str = "GET") -> str:
    """Return the signature of a call, over the sorted parameters, encoded twice (signature version 1.0)."""
    query = "&".join(f"{_encode(name)}={_encode(value)}" for name, value in sorted(parameters.items()))
    text = f"{method}&{_encode('/')}&{_encode(query)}"
    digest = hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()
    return b64encode(digest).decode()


def _encode(text: str) -> str:
    return quote(text, safe="~")


def _find_instance(place: CloudPlace, access: AccessKey, name: str) -> str:
    said = _call(place, access, {"Action": "ListInstance", "InstanceName": name, "PageNo": "1", "PageSize": "100"})
    found = said.get("Instances")
    for one in found if isinstance(found, list) else ():
        if isinstance(one, dict) and one.get("InstanceName") == name and isinstance(one.get("InstanceId"), str):
            return str(one["InstanceId"])
    raise CredentialError(
        f"Alibaba Cloud knows no instance {name!r} in {place.region}",
        hint="Name its identity in the auth file: cloud: {instance: cri-…}",
    )


def _call(place: CloudPlace, access: AccessKey, arguments: Mapping[str, str]) -> dict[str, Any]:
    parameters = _common_parameters(_VERSION) | {
        **arguments,
        "RegionId": place.region or "",
        "AccessKeyId": access.key,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
    }
    if access.token:
        parameters["SecurityToken"] = access.token
    parameters["Signature"] = sign(parameters, access.secret)
    base = place.endpoint or f"https://cr.{place.region}.aliyuncs.com"
    failure = f"cr:{arguments['Action']} failed for {place.registry}"
    try:
        answer = ask_web(f"{base.rstrip('/')}/?{urlencode(parameters, quote_via=quote)}", timeout_s=REQUEST_TIMEOUT_S)
    except Unreachable as error:
        raise CredentialError(
            f"{failure}: {error}",
            hint="Where only the network of the cloud is reached, name its address there: cloud: {endpoint: https://…}",
        ) from None
    said = answer.fields()
    if answer.status != _OK or said.get("IsSuccess") is False:
        raise CredentialError(f"{failure}: {_code(answer)}", hint=_HINT)
    return said


def _common_parameters(version: str) -> dict[str, str]:
    return {
        "Version": version,
        "Format": "JSON",
        "SignatureNonce": secrets.token_hex(16),
        "Timestamp": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _code(answer: Answer) -> str:
    return str(answer.fields().get("Code") or f"status {answer.status}")[:_MAX_CODE]


def _life_s(expire_time: object) -> float:
    """`ExpireTime` is in milliseconds since 1970."""
    if isinstance(expire_time, (int, float)) and expire_time > 0:
        return max(expire_time / 1000 - time.time(), 0.0)
    return _TOKEN_LIFE_S


def _access_key(environ: Mapping[str, str]) -> AccessKey:
    """In the order of Alibaba Cloud's own SDKs (help.aliyun.com/document_detail/378659.html): environment, OIDC token
    of a pod (RRSA), the profile file, the role of the instance. Raises NoIdentityError, CredentialError.
    """
    key, secret = environ.get("ALIBABA_CLOUD_ACCESS_KEY_ID"), environ.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    if key and secret:
        return AccessKey(key, secret, environ.get("ALIBABA_CLOUD_SECURITY_TOKEN") or None)
    return _of_pod(environ) or _of_file(environ) or _of_instance(environ)


def _of_pod(environ: Mapping[str, str]) -> AccessKey | None:
    names = ("ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ALIBABA_CLOUD_OIDC_TOKEN_FILE")
    role, provider, token_file = (environ.get(name) for name in names)
    if not (role and provider and token_file):
        return None
    try:
        token = Path(token_file).read_text()
    except (OSError, UnicodeDecodeError):
        raise CredentialError(f"{token_file} cannot be read, which ALIBABA_CLOUD_OIDC_TOKEN_FILE names") from None
    form = _common_parameters(_STS_VERSION) | {
        "Action": "AssumeRoleWithOIDC",
        "RoleArn": role,
        "OIDCProviderArn": provider,
        "OIDCToken": token.strip(),
        "RoleSessionName": environ.get("ALIBABA_CLOUD_ROLE_SESSION_NAME") or "image-syncer",
    }
    host = environ.get("ALIBABA_CLOUD_STS_ENDPOINT") or "sts.aliyuncs.com"
    url = host if "://" in host else f"https://{host}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        answer = ask_web(
            url, method="POST", headers=headers, body=urlencode(form).encode(), timeout_s=REQUEST_TIMEOUT_S
        )
    except Unreachable as error:
        raise CredentialError(f"sts:AssumeRoleWithOIDC failed: {error}") from None
    given = answer.fields().get("Credentials")
    if answer.status != _OK or not isinstance(given, dict):
        raise CredentialError(f"sts:AssumeRoleWithOIDC failed: {_code(answer)}")
    return _key_of(given, "role of the pod")


def _of_file(environ: Mapping[str, str]) -> AccessKey | None:
    named = environ.get("ALIBABA_CLOUD_CREDENTIALS_FILE")
    home = environ.get("HOME")
    path = Path(named) if named else (Path(home) if home else Path("~").expanduser()) / ".alibabacloud/credentials"
    profile = environ.get("ALIBABA_CLOUD_PROFILE") or "default"
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text())
        section = parser[profile]
    except (OSError, UnicodeDecodeError, IniError, KeyError):
        return None
    key, secret = section.get("access_key_id"), section.get("access_key_secret")
    if not (key and secret):
        return None
    return AccessKey(key.strip('" '), secret.strip('" '), section.get("security_token"), str(path))


def _of_instance(environ: Mapping[str, str]) -> AccessKey:
    """help.aliyun.com/document_detail/54579.html; the hardened mode is tried first, as the SDKs do."""
    if environ.get("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "").lower() == "true":
        raise NoIdentityError
    base = environ.get("ALIBABA_CLOUD_ECS_METADATA_ENDPOINT") or _METADATA
    try:
        headers = {"X-aliyun-ecs-metadata-token-ttl-seconds": "60"}
        token = _metadata(f"{base}/latest/api/token", method="PUT", headers=headers)
        headers = {"X-aliyun-ecs-metadata-token": token.body.decode("latin-1")} if token.status == _OK else {}
        roles = f"{base}/latest/meta-data/ram/security-credentials/"
        role = environ.get("ALIBABA_CLOUD_ECS_METADATA")
        if not role:
            answer = _metadata(roles, headers=headers)
            role = answer.body.decode("latin-1").strip() if answer.status == _OK else ""
        if not role:
            raise NoIdentityError
        answer = _metadata(f"{roles}{quote(role)}", headers=headers)
    except Unreachable:
        raise NoIdentityError from None
    said = answer.fields() if answer.status == _OK else {}
    if said.get("Code") != "Success":
        raise NoIdentityError
    return _key_of(said, "role of the instance")


def _metadata(url: str, *, method: str = "GET", headers: Mapping[str, str]) -> Answer:
    return ask_web(url, method=method, headers=headers, timeout_s=METADATA_TIMEOUT_S, direct=True)


def _key_of(said: Mapping[str, Any], source: str) -> AccessKey:
    try:
        return AccessKey(str(said["AccessKeyId"]), str(said["AccessKeySecret"]), str(said["SecurityToken"]), source)
    except KeyError:
        raise CredentialError(f"Alibaba Cloud gave no access key for the {source}") from None
