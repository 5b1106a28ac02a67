"""Where workers come from: processes of this machine (`worker_processes`), or something else that speaks the same
frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.worker.messages import Message, Setup

__all__ = ["WorkerLink", "WorkerSource"]


class WorkerLink(Protocol):
    """One worker as the supervisor sees it; `WorkerHandle` says what each member is for."""

    id: int
    heard_at: float
    ready: bool
    restarts: int
    crash_text: str

    @property
    def is_local(self) -> bool:
        """Whether its process is one of this machine, so that `pid` means it here."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def pid(self) -> int | None:
        """Its process's number, where that is known."""

    @property
    def last_words(self) -> str:
        """What it said last before it ended; empty where it ended silently."""

    async def start(self, setup: Setup) -> None:
        """Bring it into being, and tell it how it works; raises OSError where that does not go. A `kill` meanwhile ends
        the attempt.
        """

    def send(self, message: Message) -> None:
        """Say something; nothing happens where it is gone."""

    def kill(self) -> None:
        """End it without asking it."""

    async def end(self, grace_s: float) -> None:
        """Wait up to `grace_s` seconds until it has ended, then kill it; nothing of it is left."""

    def how_it_ended(self) -> str:
        """A phrase for people."""


class WorkerSource(Protocol):
    """Makes workers for a supervisor."""

    def make(
        self, identity: int, *, on_message: Callable[[int, Message], None], on_end: Callable[[int], None]
    ) -> WorkerLink:
        """A worker that is not started yet. `on_end` is called once, when it has been started and is gone."""

    def take_warnings(self) -> list[str]:
        """What the user should know of the workers that there were; told once."""
