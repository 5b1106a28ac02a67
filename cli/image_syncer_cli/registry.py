"""`image-syncer registry`: the embedded registry alone, for tests, demos and benchmarks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from image_syncer_cli.options import debug_option
from image_syncer_cli.output import say

if TYPE_CHECKING:
    from image_syncer.embedded import EmbeddedRegistry

__all__ = ["registry"]

_MAX_PORT = 65535


def _parse_address(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, int]:
    host, separator, port = value.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not separator or not host or not port.isdecimal() or int(port) > _MAX_PORT:
        raise click.BadParameter(f"{value!r} is not HOST:PORT; write for example 127.0.0.1:5000 or [::1]:5000.")
    return host, int(port)


@click.command(short_help="Serve a registry for tests and demos.")
@click.option(
    "--listen",
    callback=_parse_address,
    default="127.0.0.1:5000",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; port 0 takes a free one.",
)
@click.option("--root", metavar="DIR", help="Keep content in this folder, in constant memory.")
@click.option("--memory", is_flag=True, help="Keep content in memory and forget it at the end. [default]")
@debug_option
def registry(listen: tuple[str, int], root: str | None, memory: bool, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Serve an OCI distribution 1.1 registry, until Ctrl-C.

    It is for tests, demos and benchmarks: it asks for no password and speaks plain HTTP.
    """
    if root is not None and memory:
        raise click.UsageError("--root keeps content in a folder and --memory does not: give one of them.")
    import asyncio

    from image_syncer.embedded import DirectoryStorage, EmbeddedRegistry, MemoryStorage

    host, port = listen
    try:
        storage = MemoryStorage() if root is None else DirectoryStorage(root)
    except OSError as error:
        raise click.UsageError(f"--root {root}: {error.strerror}. Give a folder that may be written to.") from None
    asyncio.run(_serve(EmbeddedRegistry(storage, host=host, port=port), listen, root or "memory"))


async def _serve(server: EmbeddedRegistry, listen: tuple[str, int], place: str) -> None:
    import asyncio
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await server.start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        address = "{}:{}".format(*listen)
        raise click.UsageError(f"cannot listen on {address}: {reason}. Give --listen another address.") from None
    say(f"Serving a registry for tests on http://{server.address} (content in {place}). Ctrl-C ends it.")
    try:
        await stop.wait()
    finally:
        await server.stop()
