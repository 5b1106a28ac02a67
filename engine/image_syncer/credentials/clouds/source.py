"""The source of clouds' credentials: each is asked once for a registry, and again before its credential expires."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from importlib.util import find_spec
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct, field

from image_syncer.credentials.clouds.place import EXTRAS, CloudGrant, ExtraMissingError, NoIdentityError, find_place
from image_syncer.credentials.found import NEVER, CredentialError, Described, Found
from image_syncer.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.config import RegistryBook
    from image_syncer.credentials.clouds.place import CloudPlace
    from image_syncer.oci import Repository


ASK_TIMEOUT_S = 30.0
"""For one question in all: it may run programs of the cloud, and exchange tokens. The check whether this machine
belongs to the cloud takes two seconds of it.
"""
USABLE_PART = 0.8
"""The part of its life after which a credential is renewed."""
RETRY_S = 60.0
"""Between two tries to renew a credential that is still good."""
FORGET_FAILURE_S = 30.0
"""How long a failure is remembered before the cloud is asked again."""
_MODULES = {"aws": "botocore", "google": "google.auth", "azure": "azure.identity"}
_FOREVER = float("inf")
_Result = TypeVar("_Result")
_LOGGERS = ("botocore", "urllib3", "google", "azure", "msal")


def ask_cloud(place: CloudPlace, environ: Mapping[str, str]) -> CloudGrant:
    """Ask the cloud of `place`. Raises NoIdentityError, ExtraMissingError, SyncError."""
    ask: Callable[[CloudPlace, Mapping[str, str]], CloudGrant]
    if place.cloud == "aws":
        from image_syncer.credentials.clouds.ecr import ask_ecr as ask
    elif place.cloud == "google":
        from image_syncer.credentials.clouds.google import ask_google as ask
    elif place.cloud == "azure":
        from image_syncer.credentials.clouds.azure import ask_azure as ask
    else:
        from image_syncer.credentials.clouds.aliyun import ask_aliyun as ask
    return ask(place, environ)


class CloudSource:
    """The `Source` of clouds: what they gave, by registry. Each question is asked once.

    `clock` is monotonic, in seconds. `ask` is `ask_cloud`, except in tests.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.monotonic,
        ask: Callable[[CloudPlace, Mapping[str, str]], CloudGrant] = ask_cloud,
        timeout_s: float = ASK_TIMEOUT_S,
    ) -> None:
        self._environ = environ
        self._clock = clock
        self._ask = ask
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._kept: dict[CloudPlace, _KeptCredential] = {}
        self._asking: set[Future[Any]] = set()
        self._closed = False

    def place_of(self, registry: str, book: RegistryBook) -> CloudPlace | None:
        """Return the cloud that has the credential of a registry, if there is one."""
        host = book.host_settings(registry)
        return find_place(registry, host.cloud, ca_file=host.ca_file)

    def find(self, repository: Repository, book: RegistryBook, *, after: float = NEVER) -> Found | None:
        """See `Source`; None for a registry of no cloud.

        Where the cloud cannot be asked again, its credential is good until it expires. Raises CredentialError where the
        cloud knows our identity and gives no credential for a private registry.
        """
        place = self.place_of(repository.registry, book)
        if place is None:
            return None
        with self._lock:
            kept = self._kept.setdefault(place, _KeptCredential())
        with kept.lock:
            now = self._clock()
            if now >= kept.ask_at or kept.asked_at <= after:
                kept.asked_at = now
                self._renew(place, kept, now)
            if kept.error is not None:
                raise kept.error.changed()
            good_until_s = None if kept.ask_at == _FOREVER else kept.ask_at
            if kept.grant is None:
                return Found(None, f"anonymous ({kept.reason})", kept.asked_at, good_until_s)
            return Found(kept.grant.credential, kept.grant.source, kept.asked_at, good_until_s)

    def describe(self, repository: Repository, book: RegistryBook) -> Described | None:
        """See `Source`."""
        place = self.place_of(repository.registry, book)
        if place is None:
            return None
        extra = EXTRAS.get(place.cloud)
        if extra is None or _is_installed(place.cloud):
            return Described(f"{place.title}, if this machine has an identity there")
        return Described(f"anonymous ({place.title}: {_missing(extra)})")

    def run(self, place: CloudPlace, work: Callable[[], _Result]) -> _Result:
        """Return the result of `work`, which asks the cloud of `place`, within the time of a question.

        It runs in a thread of its own, because SDKs have time-outs for each request, and none for all. Raises the
        errors of `work`, and CredentialError after the time-out or at the end of the run.
        """
        future: Future[_Result] = Future()
        with self._lock:
            if self._closed:
                raise CredentialError("the run ended before the cloud answered")
            self._asking.add(future)
        Thread(target=_answer, args=(place, work, future), name=f"asks {place.cloud}", daemon=True).start()
        try:
            return future.result(self._timeout_s)
        except FutureTimeoutError:
            raise CredentialError(
                f"{place.title} did not answer about {place.registry} within {self._timeout_s:g} s",
                hint="Check that its services can be reached from here, or write a user name and a password into "
                "the auth file.",
            ) from None
        finally:
            with self._lock:
                self._asking.discard(future)

    def close(self) -> None:
        """End all questions: callers that still wait get an error at once."""
        with self._lock:
            self._closed = True
            asking = list(self._asking)
        for future in asking:
            _fail(future, CredentialError("the run ended before the cloud answered"))

    def _renew(self, place: CloudPlace, kept: _KeptCredential, now: float) -> None:
        try:
            grant = self.run(place, lambda: self._ask(place, self._environ))
        except ExtraMissingError:
            kept.settle(None, _FOREVER, reason=f"{place.title}: {_missing(EXTRAS[place.cloud])}")
        except NoIdentityError:
            kept.settle(None, _FOREVER, reason=f"{place.title}: no identity there was found on this machine")
        except SyncError as error:
            if kept.grant is not None and now < kept.expires_at:
                kept.ask_at = min(now + RETRY_S, kept.expires_at)
            elif place.is_public:
                kept.settle(None, now + FORGET_FAILURE_S, reason=error.message)
            else:
                kept.settle(None, now + FORGET_FAILURE_S, error=error)
        else:
            life_s = grant.lives_s
            kept.settle(grant, _FOREVER if life_s is None else now + life_s * USABLE_PART)
            kept.expires_at = _FOREVER if life_s is None else now + life_s


class _KeptCredential(Struct):
    """The answer for one registry; its lock is held while the cloud is asked."""

    lock: Any = field(default_factory=Lock)
    ask_at: float = NEVER
    asked_at: float = NEVER
    expires_at: float = NEVER
    grant: CloudGrant | None = None
    reason: str | None = None
    error: SyncError | None = None

    def settle(
        self, grant: CloudGrant | None, ask_at: float, *, reason: str | None = None, error: SyncError | None = None
    ) -> None:
        self.grant, self.ask_at, self.reason, self.error = grant, ask_at, reason, error


def _answer(place: CloudPlace, work: Callable[[], _Result], future: Future[_Result]) -> None:
    for logger in map(logging.getLogger, _LOGGERS):
        # Debug logs of SDKs hold headers, and our errors say what their warnings do. A level that is set stays.
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL)
    try:
        result = work()
    except (SyncError, NoIdentityError, ExtraMissingError) as error:
        _fail(future, error)
    except Exception as error:  # noqa: BLE001 - an SDK may raise anything, and its message may hold secrets
        _fail(future, CredentialError(f"asking {place.title} about {place.registry} failed: {type(error).__name__}"))
    else:
        with suppress(InvalidStateError):  # the run or the wait has ended
            future.set_result(result)


def _fail(future: Future[Any], error: Exception) -> None:
    with suppress(InvalidStateError):  # as above
        future.set_exception(error)


def _is_installed(cloud: str) -> bool:
    try:
        return find_spec(_MODULES[cloud]) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False


def _missing(extra: str) -> str:
    return f"pip install 'image-syncer[{extra}]' would ask it"
