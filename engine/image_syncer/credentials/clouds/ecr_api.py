"""What else Amazon ECR's API does for a run: repositories are made, and many blobs are asked for at once.

docs.aws.amazon.com/AmazonECR/latest/APIReference: DescribeRepositories, CreateRepository,
BatchCheckLayerAvailability. The public gallery has the same, with less to say of a repository.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from image_syncer.credentials.clouds.ecr import aws_client, aws_failure
from image_syncer.credentials.clouds.grant import ExtraMissingError, NoIdentityError
from image_syncer.credentials.failure import CredentialError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.config.registry_creation import RepositoryTemplate
    from image_syncer.credentials.clouds.place import CloudPlace

__all__ = ["MOST_DIGESTS", "EcrApi"]

MOST_DIGESTS = 100
""""Array Members: Minimum number of 1 item. Maximum number of 100 items" (BatchCheckLayerAvailability)."""


class EcrApi:
    """The API of one registry; blocks. May be asked from several threads at once."""

    def __init__(self, place: CloudPlace) -> None:
        self._place = place
        self._lock = Lock()
        self._made: Any = None

    def ensure_repository(self, name: str, template: RepositoryTemplate) -> bool:
        """Create the repository where it is missing; whether it was. Raises CredentialError.

        It is looked for first: whoever may only push to what is there needs no right to create. Where that may not be
        asked, creating tells as well.
        """
        client, errors = self._client(), self._errors()
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
        """Those of `digests`, at most `MOST_DIGESTS`, that the repository has. Raises CredentialError."""
        client = self._client()
        try:
            answer = client.batch_check_layer_availability(
                repositoryName=self._name(name), layerDigests=list(digests), **self._registry()
            )
        except client.exceptions.RepositoryNotFoundException:
            return []
        except self._errors() as error:
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

    def _errors(self) -> tuple[type[Exception], ...]:
        from botocore.exceptions import BotoCoreError, ClientError

        return (BotoCoreError, ClientError)

    def _name(self, name: str) -> str:
        """A repository of the gallery is called without the alias of its registry there."""
        return name.partition("/")[2] if self._place.is_public else name

    def _registry(self) -> dict[str, str]:
        """Whose registry it is: another account's may be written to as well."""
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


def _is_denied(error: Exception) -> bool:
    response = getattr(error, "response", None)
    return isinstance(response, dict) and response.get("Error", {}).get("Code") == "AccessDeniedException"
