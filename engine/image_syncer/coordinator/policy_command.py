"""The program of a policy: asked about one image, in a process of its own, with an end to everything it may do."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.errors import SyncError, redact, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.config.policy import PolicyCommand

__all__ = ["AT_ONCE", "PolicyError", "ask_program"]

AT_ONCE = 8
"""Programs that run together; each may load an interpreter."""
MAX_OUTPUT_BYTES = 64 * 1024
"""Of standard output, and of standard error; a reason is one line."""
MOST_SHOWN = 300
"""Characters of that line."""
_LEFT_OPEN_S = 1.0
"""What the program has started may hold its output open; what it wrote itself is there by then."""
_REFUSED = 1
_CHUNK_BYTES = 4096

_PASSED_ON = ("HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "PATH", "TMPDIR", "TZ", "USER")
"""What programs need, and what holds no secret."""


class PolicyError(SyncError):
    """An image that must not go out; or one of which nobody could say whether it may, which is the same."""

    kind = "refused by policy"


async def ask_program(command: PolicyCommand, question: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    """The reason for which the program refuses the image that the `question` is about; None where it lets it through.

    Exit code 0 is yes, 1 is no. Raises PolicyError where the program gives neither.
    """
    program = Path(command.words[0]).name
    names = (*_PASSED_ON, *command.environment)
    try:
        process = await asyncio.create_subprocess_exec(
            *command.words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: environ[name] for name in names if name in environ},
            start_new_session=True,  # Ctrl-C is for us, and what it starts can be ended with it
        )
    except (OSError, ValueError) as error:
        raise PolicyError(
            f"the policy's program {program} cannot be started: {getattr(error, 'strerror', None) or error}",
            hint="Nothing goes out that it was not asked about: see `command` of the policy.",
        ) from None
    said: tuple[bytes, bytes] | None = None
    try:
        said = await asyncio.wait_for(_talk(process, orjson.dumps(question)), command.timeout_s)
    except asyncio.TimeoutError:
        raise PolicyError(
            f"the policy's program {program} did not answer within {command.timeout_s:g} s",
            hint="Give it more time with `timeout` of the policy, or see what it waits for.",
        ) from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    code = await process.wait()
    if said is None or len(said[0]) > MAX_OUTPUT_BYTES:
        raise PolicyError(f"the policy's program {program} wrote more than {MAX_OUTPUT_BYTES:,} bytes")
    if code == 0:
        return None
    if code == _REFUSED:
        return _line(said[0]) or "it gave no reason"
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    why = f": {line}" if (line := _line(said[1])) else ""
    raise PolicyError(
        f"the policy's program {program} failed ({how}){why}",
        hint="It answers with exit code 0 (yes) or 1 (no); anything else counts as no.",
    )


async def _talk(process: asyncio.subprocess.Process, question: bytes) -> tuple[bytes, bytes]:
    """What it writes, and a byte more than is allowed where that is more, until it has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    outputs = (bytearray(), bytearray())
    readers = [
        asyncio.ensure_future(_read(stream, output))
        for stream, output in zip((process.stdout, process.stderr), outputs, strict=True)
    ]
    try:
        # It may answer without having listened; a transport of uvloop that is closed by then raises RuntimeError.
        with suppress(BrokenPipeError, ConnectionResetError, RuntimeError):
            process.stdin.write(question)
            await process.stdin.drain()
            process.stdin.close()
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait([ended, readers[0]], return_when=asyncio.FIRST_COMPLETED)
            if len(outputs[0]) <= MAX_OUTPUT_BYTES:
                await ended
                await asyncio.wait(readers, timeout=_LEFT_OPEN_S)
        finally:
            ended.cancel()
    finally:
        for reader in readers:
            reader.cancel()
    return bytes(outputs[0]), bytes(outputs[1])


async def _read(stream: asyncio.StreamReader, output: bytearray) -> None:
    while len(output) <= MAX_OUTPUT_BYTES and (chunk := await stream.read(_CHUNK_BYTES)):
        output += chunk


def _line(output: bytes) -> str:
    """The first line that is not empty, as people may see it."""
    lines = (line.strip() for line in output.decode("utf-8", "replace").splitlines())
    text = visible(redact(next((line for line in lines if line), "")))
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
