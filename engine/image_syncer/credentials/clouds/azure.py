"""Azure Container Registry: a token of Microsoft Entra (azure-identity), exchanged for a refresh token of the registry.

github.com/Azure/acr/blob/main/docs/AAD-OAuth.md, "Calling POST /oauth2/exchange to get an ACR refresh token".
"""

from __future__ import annotations

import binascii
import json
import ssl
import time
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from image_syncer.credentials.clouds.place import CloudGrant, ExtraMissingError, NoIdentityError
from image_syncer.credentials.clouds.web import Unreachable, ask_web
from image_syncer.credentials.found import CredentialError
from image_syncer.registry import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.credentials.clouds.place import CloudPlace


REFRESH_TOKEN_LIFE_S = 3 * 3600.0
"""Where the token does not say; three hours so far."""
EXCHANGE_TIMEOUT_S = 15.0
PROGRAM_TIMEOUT_S = 10
"""For `az account get-access-token`, a Python program that starts slowly."""
_SCOPE = "https://containerregistry.azure.net/.default"
"""The audience that registries of all Azure clouds take (azure-sdk-for-python, azure-containerregistry)."""
_USER = "00000000-0000-0000-0000-000000000000"
"""The user name that goes with a refresh token (the same document)."""
_OK = 200
_KNOWN_AUTHORITIES = ("login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn")
_MAX_WORDS = 200


def ask_azure(place: CloudPlace, environ: Mapping[str, str]) -> CloudGrant:
    """Return the credential for a registry: an identity token for three hours.

    Raises NoIdentityError, ExtraMissingError, CredentialError.
    """
    token, source = _entra_token(place, environ)
    form = {"grant_type": "access_token", "service": place.registry, "access_token": token}
    if tenant := environ.get("AZURE_TENANT_ID"):
        form["tenant"] = tenant
    base = place.endpoint or f"https://{place.registry}"
    try:
        answer = ask_web(
            f"{base.rstrip('/')}/oauth2/exchange",
            method="POST",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
            timeout_s=EXCHANGE_TIMEOUT_S,
            tls=_tls(place, environ),
        )
    except Unreachable as error:
        raise CredentialError(f"{place.registry} does not exchange the token of Microsoft Entra: {error}") from None
    refresh_token = answer.fields().get("refresh_token")
    if answer.status != _OK or not isinstance(refresh_token, str) or not refresh_token:
        raise CredentialError(
            f"{place.registry} does not exchange the token of Microsoft Entra (status {answer.status})",
            hint="Give the identity a role at the registry, AcrPull or AcrPush.",
        )
    return CloudGrant(Credential(_USER, "", refresh_token), source, _life_s(refresh_token))


def _entra_token(place: CloudPlace, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the access token, and its source. The parts of azure-identity's chain that ask the user, or start
    PowerShell, are left out.
    """
    try:
        from azure.core.exceptions import AzureError, ClientAuthenticationError
        from azure.identity import CredentialUnavailableError, DefaultAzureCredential
    except ImportError:
        raise ExtraMissingError from None
    options: dict[str, Any] = {}
    authority = environ.get("AZURE_AUTHORITY_HOST", "")
    if authority and not any(known in authority for known in _KNOWN_AUTHORITIES):
        options["disable_instance_discovery"] = True  # Microsoft does not know private authorities
    try:
        credential = DefaultAzureCredential(
            exclude_powershell_credential=True,
            exclude_visual_studio_code_credential=True,
            exclude_shared_token_cache_credential=True,
            exclude_broker_credential=True,
            process_timeout=PROGRAM_TIMEOUT_S,
            **options,
        )
        try:
            token = credential.get_token(_SCOPE)
        finally:
            credential.close()
    except ClientAuthenticationError as error:
        if _has_no_identity(error, CredentialUnavailableError):
            raise NoIdentityError from None
        words = _first_refusal(str(error.message or error))
        raise CredentialError(
            f"Microsoft Entra gave no token for {place.registry}: {words}",
            hint="See who you are to Azure: az account show; or check AZURE_CLIENT_ID and what goes with it.",
        ) from None
    except (AzureError, ValueError) as error:
        raise CredentialError(f"Microsoft Entra gave no token for {place.registry}: {type(error).__name__}") from None
    used = getattr(getattr(credential, "_successful_credential", None), "__class__", type(None)).__name__
    return token.token, f"Azure ({used})" if used != "NoneType" else "Azure"


def _has_no_identity(error: Exception, unavailable: type[Exception]) -> bool:
    """Return whether each credential of the chain only said that it is unavailable."""
    text = str(error)
    return isinstance(error, unavailable) or ("AADSTS" not in text and "failed to retrieve a token" in text)


def _first_refusal(text: str) -> str:
    """Return what Entra itself said (AADSTS…), from the messages of the whole chain."""
    start = text.find("AADSTS")
    return (text[start:] if start >= 0 else text).partition("\n")[0][:_MAX_WORDS]


def _tls(place: CloudPlace, environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return the trusted authorities: those of azure-identity (REQUESTS_CA_BUNDLE, as its `requests` does) or the
    system's, and those of the registry's entry.
    """
    bundle = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE")
    context = ssl.create_default_context(cafile=bundle if bundle and Path(bundle).is_file() else None)
    if place.ca_file is not None:
        context.load_verify_locations(place.ca_file)
    return context


def _life_s(token: str) -> float:
    """Return the seconds until `exp` of the JWT, whose signature only the registry can check (RFC 7519, 4.1.4)."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        lives_s = float(claims["exp"]) - float(claims.get("iat", time.time()))
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return REFRESH_TOKEN_LIFE_S
    return lives_s if lives_s > 0 else REFRESH_TOKEN_LIFE_S
