"""Amazon ECR, private and public: tokens, the creation of repositories, and the lookup of many blobs, through botocore.

docs.aws.amazon.com/AmazonECR/latest/APIReference: GetAuthorizationToken, DescribeRepositories, CreateRepository,
BatchCheckLayerAvailability; AmazonECRPublic has the same, with fewer properties of a repository.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from image_syncer.credentials.clouds.place import CloudGrant, ExtraMissingError, NoIdentityError
from image_syncer.credentials.found import CredentialError
from image_syncer.registry import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image_syncer.config.registry_book import RepositoryTemplate
    from image_syncer.credentials.clouds.place import CloudPlace


MOST_DIGESTS = 100
""""Array Members: Minimum number of 1 item. Maximum number of 100 items" (BatchCheckLayerAvailability)."""


class EcrApi:
    """The API of one registry; blocks. Several threads may use it at once."""

    def __init__(self, place: CloudPlace) -> None:
        self._place = place
        self._lock = Lock()
        self._made: Any = None

    def ensure_repository(self, name: str, template: RepositoryTemplate) -> bool:
        """Create the repository where it is missing; return whether it was. Raises CredentialError.

        The lookup comes first, because an identity may lack the right to create; without the right to look up, the
        creation says whether the repository exists.
        """
        client, errors = self._client(), _errors()
        try:
            client.describe_repositories(repositoryNames=[self._name(name)], **self._registry())
        except client.exceptions.RepositoryNotFoundException:
            pass
        except errors as error:
            if not _is_denied(error):
                raise aws_failure(self._place, error, "ecr:DescribeRepositories") from None
        else:
            return False
        try:
            client.create_repository(repositoryName=self._name(name), **self._wanted(template))
        except client.exceptions.RepositoryAlreadyExistsException:
            return False
        except errors as error:
            raise aws_failure(self._place, error, "ecr:CreateRepository") from None
        return True

    def find_blobs(self, name: str, digests: Sequence[str]) -> list[str]:
        """Return those of `digests` (at most `MOST_DIGESTS`) that the repository has. Raises CredentialError."""
        client = self._client()
        try:
            answer = client.batch_check_layer_availability(
                repositoryName=self._name(name), layerDigests=list(digests), **self._registry()
            )
        except client.exceptions.RepositoryNotFoundException:
            return []
        except _errors() as error:
            raise aws_failure(self._place, error, "ecr:BatchCheckLayerAvailability") from None
        layers = answer.get("layers") or ()
        return [str(layer["layerDigest"]) for layer in layers if layer.get("layerAvailability") == "AVAILABLE"]

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                try:
                    self._made, _ = aws_client(self._place)
                except ExtraMissingError:
                    raise CredentialError(
                        f"the API of {self._place.registry} is not within reach: botocore is not installed",
                        hint="Install it: pip install 'image-syncer[aws]'",
                    ) from None
                except NoIdentityError:
                    raise CredentialError(
                        f"the API of {self._place.registry} is not within reach: this machine has no identity at AWS",
                        hint="Log in there, or set AWS_PROFILE; a password of `docker login` does not reach the API.",
                    ) from None
            return self._made

    def _name(self, name: str) -> str:
        """Return the name in the API, which for the public gallery lacks the alias of the registry."""
        return name.partition("/")[2] if self._place.is_public else name

    def _registry(self) -> dict[str, str]:
        """Return the account of the registry, which may be another than ours."""
        return {"registryId": self._place.account} if self._place.account else {}

    def _wanted(self, template: RepositoryTemplate) -> dict[str, Any]:
        wanted: dict[str, Any] = {}
        if template.tags:
            wanted["tags"] = [{"Key": key, "Value": value} for key, value in template.tags]
        if self._place.is_public:
            return wanted
        wanted.update(self._registry())
        if template.immutable is not None:
            wanted["imageTagMutability"] = "IMMUTABLE" if template.immutable else "MUTABLE"
        if template.scan_on_push is not None:
            wanted["imageScanningConfiguration"] = {"scanOnPush": template.scan_on_push}
        if template.kms_key is not None:
            wanted["encryptionConfiguration"] = {"encryptionType": "KMS", "kmsKey": template.kms_key}
        return wanted


def _errors() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError

    return (BotoCoreError, ClientError)


def _is_denied(error: Exception) -> bool:
    response = getattr(error, "response", None)
    return isinstance(response, dict) and response.get("Error", {}).get("Code") == "AccessDeniedException"


CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 10
MOST_TRIES = 3
"""Of one call; the caller tries again when it needs the token."""
_TOKEN_LIFE_S = 12 * 3600.0
"""Where the answer does not say ("The authorization token is valid for 12 hours")."""
_MAX_WORDS = 200
_making = Lock()
"""A session reads files and plug-ins when it is created, which is not safe in several threads at once."""


def ask_ecr(place: CloudPlace, _environ: Mapping[str, str]) -> CloudGrant:
    """Return the credential for a registry: user "AWS", and a password for twelve hours.

    Raises NoIdentityError, ExtraMissingError, CredentialError.
    """
    client, method = aws_client(place)
    try:
        answer = client.get_authorization_token()
    except _errors() as error:
        raise aws_failure(place, error, "ecr:GetAuthorizationToken") from None
    data = answer.get("authorizationData") or {}
    data = data if isinstance(data, dict) else data[0]  # private registries answer with a list of one
    try:
        decoded = b64decode(data["authorizationToken"], validate=True).decode()
    except (KeyError, binascii.Error, ValueError):
        decoded = ""
    username, colon, password = decoded.partition(":")
    if not colon or not password:
        raise CredentialError(f"AWS answered for {place.registry} without a token that can be used")
    return CloudGrant(Credential(username, password), f"AWS ({method})", _life_s(data.get("expiresAt"), answer))


def aws_client(place: CloudPlace) -> tuple[Any, str]:
    """Return a client for the ECR of `place`, and the method by which botocore found our identity.

    Raises NoIdentityError where it found none, ExtraMissingError without botocore, CredentialError.
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
            # The chain of botocore, which takes at most a second for the metadata of an instance.
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


def aws_failure(place: CloudPlace, error: Exception, action: str) -> CredentialError:
    """Return our error for one of AWS, with the first line of its message: the others may hold the session token."""
    response = getattr(error, "response", None)
    said = response.get("Error", {}) if isinstance(response, dict) else {}
    code = str(said.get("Code") or type(error).__name__)
    words = str(said.get("Message") or error).partition("\n")[0][:_MAX_WORDS]
    hint = "See who you are to AWS: aws sts get-caller-identity"
    if code in ("AccessDeniedException", "AccessDenied", "UnauthorizedOperation"):
        hint = f"Allow {action} to it; this shows your identity at AWS: aws sts get-caller-identity"
    return CredentialError(f"{action} failed for {place.registry}: {code}: {words}", hint=hint)


def _life_s(expires_at: object, answer: Mapping[str, Any]) -> float:
    """Return the life of a token by AWS's clock, since ours may be wrong; an expired one has the usual life."""
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
