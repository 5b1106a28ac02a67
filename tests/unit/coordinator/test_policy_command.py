"""The program of a policy: whatever it does with its question, there is one answer."""

from __future__ import annotations

import asyncio

import pytest

from image_syncer.config.policy import PolicyCommand
from image_syncer.coordinator.policy import PolicyError, ask_program
from image_syncer.coordinator.run import run_in_loop

MANY = 24
LARGE = {"annotations": {"filler": "x" * 300_000}}
"""More than a pipe holds: whoever writes it finds out that nobody reads."""


def ask(*words: str, question: dict[str, object], count: int = MANY) -> list[str | BaseException | None]:
    async def work() -> list[str | BaseException | None]:
        command = PolicyCommand(words)
        asked = (ask_program(command, question, {"PATH": "/usr/bin:/bin"}) for _ in range(count))
        return await asyncio.gather(*asked, return_exceptions=True)

    return run_in_loop(work())


@pytest.mark.parametrize("question", [{}, LARGE])
def test_programs_that_answer_without_listening(question: dict[str, object]) -> None:
    """The pipe may be closed before a word is written, in the middle, or not at all."""
    assert ask("/bin/true", question=question) == [None] * MANY
    assert ask("/bin/false", question=question) == ["it gave no reason"] * MANY


def test_a_large_question_arrives_whole() -> None:
    length = len('{"annotations":{"filler":""}}') + 300_000
    script = f'test "$(wc -c)" -eq {length} && exit 0; echo cut off; exit 1'
    assert ask("/bin/sh", "-c", script, question=LARGE, count=2) == [None] * 2


def test_what_is_no_answer() -> None:
    [found] = ask("/bin/sh", "-c", "kill -9 $$", question=LARGE, count=1)
    assert isinstance(found, PolicyError)
    assert "failed (signal 9)" in found.message
