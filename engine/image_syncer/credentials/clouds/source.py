"""The clouds, asked for credentials: once for each registry, and again before what they gave expires."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from importlib.util import find_spec
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from image_syncer.credentials.clouds.grant import ExtraMissingError, Grant, NoIdentityError
from image_syncer.credentials.clouds.place import EXTRAS, find_place
from image_syncer.credentials.failure import CredentialError
from image_syncer.credentials.found import NEVER, Described, Found
from image_syncer.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.config import RegistryBook
    from image_syncer.credentials.clouds.place import CloudPlace
    from image_syncer.oci import Repository

__all__ = ["ASK_TIMEOUT_S", "CloudSource", "ask_cloud"]

ASK_TIMEOUT_S = 30.0
"""For one question in all, beyond which nobody waits: programs of a cloud may be run for it, and tokens exchanged.
What finds out whether this is a machine of the cloud has two seconds of it.
"""
USABLE_PART = 0.8
"""A credential is renewed when this part of its life is over."""
RETRY_S = 60.0
"""Until a cloud is asked again that could not be asked, while what it gave before is good."""
FORGET_FAILURE_S = 30.0
"""For so long everybody who asks is told of a failure; then the cloud is asked again."""
_MODULES = {"aws": "botocore", "google": "google.auth", "azure": "azure.identity"}
_Result = TypeVar("_Result")
_LOGGERS = ("botocore", "urllib3", "google", "azure", "msal")


def ask_cloud(place: CloudPlace, environ: Mapping[str, str]) -> Grant:
    """Ask the cloud of `place`. Raises NoIdentityError, ExtraMissingError, SyncError."""
    if place.cloud == "aws":
        from image_syncer.credentials.clouds.ecr import ask_ecr

        return ask_ecr(place, environ)
    if place.cloud == "google":
        from image_syncer.credentials.clouds.google import ask_google

        return ask_google(place, environ)
    if place.cloud == "azure":
        from image_syncer.credentials.clouds.azure import ask_azure

        return ask_azure(place, environ)
    from image_syncer.credentials.clouds.aliyun import ask_aliyun

    return ask_aliyun(place, environ)


class CloudSource:
    """See `image_syncer.credentials.found.Source`: what clouds gave, by registry; each question is asked once.

    `clock` gives seconds that never go back. `ask` is `ask_cloud`.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.monotonic,
        ask: Callable[[CloudPlace, Mapping[str, str]], Grant] = ask_cloud,
        timeout_s: float = ASK_TIMEOUT_S,
    ) -> None:
        self._environ = environ
        self._clock = clock
        self._ask = ask
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._kept: dict[CloudPlace, _Kept] = {}
        self._asking: set[Future[Any]] = set()
        self._closed = False

    def place_of(self, registry: str, book: RegistryBook) -> CloudPlace | None:
        """The cloud that knows the credential of a registry, if one does."""
        host = book.host_settings(registry)
        return find_place(registry, host.cloud, ca_file=host.ca_file)

    def find(self, repository: Repository, book: RegistryBook, *, after: float = NEVER) -> Found | None:
        """See `Source`: what the cloud of a registry gives for it, now or when it was last asked; None for a registry
        that is of no cloud.

        Where it cannot be asked again, what it gave before is good until it expires. Raises CredentialError where the
        cloud knows who we are and gives nothing for a registry that lets nobody in without.
        """
        place = self.place_of(repository.registry, book)
        if place is None:
            return None
        with self._lock:
            kept = self._kept.setdefault(place, _Kept())
        with kept.lock:
            now = self._clock()
            if now >= kept.ask_at or kept.asked_at <= after:
                kept.asked_at = now
                self._renew(place, kept, now)
            if kept.error is not None:
                raise kept.error.copy()
            good_until_s = None if kept.ask_at == _NEVER else kept.ask_at
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
        """What `work` says, which asks the cloud of `place` for something, within the time of a question.

        In a thread of its own that nobody waits for longer than is bearable: SDKs have time-outs for each of their
        requests, and none for all. Raises what it raises, and CredentialError where time is over or the run ends.
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
        """Nobody wants an answer any more; whoever waits for one has an error at once."""
        with self._lock:
            self._closed = True
            asking = list(self._asking)
        for future in asking:
            _fail(future, CredentialError("the run ended before the cloud answered"))

    def _renew(self, place: CloudPlace, kept: _Kept, now: float) -> None:
        try:
            grant = self.run(place, lambda: self._ask(place, self._environ))
        except ExtraMissingError:
            kept.settle(None, _NEVER, reason=f"{place.title}: {_missing(EXTRAS[place.cloud])}")
        except NoIdentityError:
            kept.settle(None, _NEVER, reason=f"{place.title}: no identity there was found on this machine")
        except SyncError as error:
            if kept.grant is not None and now < kept.expires_at:
                kept.ask_at = min(now + RETRY_S, kept.expires_at)
            elif place.is_public:
                kept.settle(None, now + FORGET_FAILURE_S, reason=error.message)
            else:
                kept.settle(None, now + FORGET_FAILURE_S, error=error)
        else:
            life_s = grant.lives_s
            kept.settle(grant, _NEVER if life_s is None else now + life_s * USABLE_PART)
            kept.expires_at = _NEVER if life_s is None else now + life_s


_NEVER = float("inf")


class _Kept:
    """What is known for one place; its lock is held while the cloud is asked."""

    __slots__ = ("ask_at", "asked_at", "error", "expires_at", "grant", "lock", "reason")

    def __init__(self) -> None:
        self.lock = Lock()
        self.ask_at = self.asked_at = NEVER
        self.expires_at = float("-inf")
        self.grant: Grant | None = None
        self.reason: str | None = None
        self.error: SyncError | None = None

    def settle(
        self, grant: Grant | None, ask_at: float, *, reason: str | None = None, error: SyncError | None = None
    ) -> None:
        self.grant, self.ask_at, self.reason, self.error = grant, ask_at, reason, error


def _answer(place: CloudPlace, work: Callable[[], _Result], future: Future[_Result]) -> None:
    for logger in map(logging.getLogger, _LOGGERS):
        # Their debugging holds headers, and their warnings are said by our errors. Whoever has set a level keeps it.
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL)
    try:
        result = work()
    except (SyncError, NoIdentityError, ExtraMissingError) as error:
        _fail(future, error)
    except Exception as error:  # noqa: BLE001 - an SDK may raise anything, and its words may hold anything
        _fail(future, CredentialError(f"asking {place.title} about {place.registry} failed: {type(error).__name__}"))
    else:
        with suppress(InvalidStateError):  # the run has ended, or nobody waits any more
            future.set_result(result)


def _fail(future: Future[Any], error: Exception) -> None:
    with suppress(InvalidStateError):  # as above
        future.set_exception(error)


def _is_installed(cloud: str) -> bool:
    try:
        return find_spec(_MODULES[cloud]) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False


def _missing(extra: str) -> str:
    return f"pip install 'image-syncer[{extra}]' would ask it"
