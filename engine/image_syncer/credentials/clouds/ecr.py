"""Amazon ECR, private and public: `GetAuthorizationToken` through botocore, which knows profiles, roles, web identities
(IRSA), containers and instances.

docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html,
docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_GetAuthorizationToken.html.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from image_syncer.credentials.clouds.grant import ExtraMissingError, Grant, NoIdentityError
from image_syncer.credentials.failure import CredentialError
from image_syncer.registry import Credential

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.credentials.clouds.place import CloudPlace

__all__ = ["ask_ecr", "aws_client", "aws_failure", "call_aws"]

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 10
MOST_TRIES = 3
"""Of one call; more tries are made by whoever needs the token later."""
_TOKEN_LIFE_S = 12 * 3600.0
"""Where the answer does not say ("The authorization token is valid for 12 hours")."""
_MAX_WORDS = 200
_making = Lock()
"""A session reads its files and its plug-ins when it is made, and is not made for several threads at once."""


def ask_ecr(place: CloudPlace, _environ: Mapping[str, str]) -> Grant:
    """The credential for a registry: user "AWS", and a password for twelve hours.

    Raises NoIdentityError, ExtraMissingError, CredentialError.
    """
    client, method = aws_client(place)
    answer = call_aws(place, client.get_authorization_token, "ecr:GetAuthorizationToken")
    data = answer.get("authorizationData") or {}
    data = data if isinstance(data, dict) else data[0]  # private registries answer with a list of one
    try:
        decoded = b64decode(data["authorizationToken"], validate=True).decode()
    except (KeyError, binascii.Error, ValueError):
        decoded = ""
    username, colon, password = decoded.partition(":")
    if not colon or not password:
        raise CredentialError(f"AWS answered for {place.registry} without a token that can be used")
    return Grant(Credential(username, password), f"AWS ({method})", _life_s(data.get("expiresAt"), answer))


def aws_client(place: CloudPlace) -> tuple[Any, str]:
    """A client for the ECR of `place`, and the way by which botocore found out who we are.

    Raises NoIdentityError where it did not, ExtraMissingError without botocore, CredentialError.
    """
    try:
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError:
        raise ExtraMissingError from None
    try:
        with _making:
            session = Session(profile=place.profile)
            # By what botocore's chain is asked in all: one try of a second for the metadata of an instance.
            credentials = session.get_credentials()
            if credentials is None:
                raise NoIdentityError
            client = session.create_client(
                "ecr-public" if place.is_public else "ecr",
                region_name=place.region,
                endpoint_url=place.endpoint,
                config=Config(
                    connect_timeout=CONNECT_TIMEOUT_S,
                    read_timeout=READ_TIMEOUT_S,
                    retries={"total_max_attempts": MOST_TRIES, "mode": "standard"},
                    use_fips_endpoint=place.is_fips or None,
                ),
            )
    except BotoCoreError as error:
        raise aws_failure(place, error, "AWS's configuration on this machine") from None
    return client, str(credentials.method)


def call_aws(
    place: CloudPlace, method: Callable[..., dict[str, Any]], action: str, **arguments: object
) -> dict[str, Any]:
    """One call of AWS's API. Raises CredentialError, with `action` as the right that it takes."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return method(**arguments)
    except (BotoCoreError, ClientError) as error:
        raise aws_failure(place, error, action) from None


def aws_failure(place: CloudPlace, error: Exception, action: str) -> CredentialError:
    """What went wrong between us and AWS, as our error. Of what a service says the first line only: what follows may
    hold the request with its session token.
    """
    response = getattr(error, "response", None)
    said = response.get("Error", {}) if isinstance(response, dict) else {}
    code = str(said.get("Code") or type(error).__name__)
    words = str(said.get("Message") or error).partition("\n")[0][:_MAX_WORDS]
    hint = "See who you are to AWS: aws sts get-caller-identity"
    if code in ("AccessDeniedException", "AccessDenied", "UnauthorizedOperation"):
        hint = f"Allow {action} to it; who you are to AWS tells: aws sts get-caller-identity"
    return CredentialError(f"{action} failed for {place.registry}: {code}: {words}", hint=hint)


def _life_s(expires_at: object, answer: Mapping[str, Any]) -> float:
    """By AWS's own clock, since ours may be wrong. One that has ended before it began is none."""
    if not isinstance(expires_at, datetime):
        return _TOKEN_LIFE_S
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        now = parsedate_to_datetime(date)
    except ValueError:
        now = datetime.now(timezone.utc)
    if now.tzinfo is None or expires_at.tzinfo is None:
        return _TOKEN_LIFE_S
    lives_s = (expires_at - now).total_seconds()
    return lives_s if lives_s > 0 else _TOKEN_LIFE_S
