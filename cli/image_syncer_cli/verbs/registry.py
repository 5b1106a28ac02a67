"""`image-syncer registry`: serves the embedded registry, for tests, demos and benchmarks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from image_syncer_cli.display.output import say
from image_syncer_cli.options import quiet_debug_option
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer.embedded import Double, EmbeddedRegistry


_MAX_PORT = 65535


def _parse_address(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, int]:
    host, separator, port = value.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not separator or not host or not port.isdecimal() or int(port) > _MAX_PORT:
        raise click.BadParameter(f"{value!r} is not HOST:PORT; write for example 127.0.0.1:5000 or [::1]:5000.")
    return host, int(port)


_KINDS = (
    *("ecr", "ecr-public", "gar", "hub", "acr-aliyun", "acr-azure", "ghcr", "quay", "harbor", "gitlab", "nexus"),
    *("artifactory", "registry2", "registry3", "zot"),
)
"""The names of the doubles, so that `--help` does not load them."""


@click.command(cls=Verb)
@click.option(
    "--listen",
    callback=_parse_address,
    default="127.0.0.1:5000",
    show_default=True,
    metavar="HOST:PORT",
    help="Address to listen on; port 0 takes a free port.",
)
@click.option("--root", metavar="DIR", help="Keep content in this folder, in constant memory.")
@click.option("--memory", is_flag=True, help="Keep content in memory, and discard it at the end. [default]")
@click.option(
    "--behave",
    type=click.Choice(_KINDS),
    metavar="KIND",
    help="Behave like registries of this kind, with their limits and errors: " + ", ".join(_KINDS) + ".",
)
@quiet_debug_option
def registry(listen: tuple[str, int], root: str | None, memory: bool, behave: str | None) -> None:
    """Serve an OCI distribution 1.1 registry, until Ctrl-C.

    For tests, demos and benchmarks: it speaks plain HTTP and needs no password. With --behave it needs one where
    registries of that kind do: the user name is printed at the start, and the password is double-password.
    """
    if root is not None and memory:
        raise click.UsageError("--root keeps content in a folder and --memory does not: give one of them.")
    import asyncio

    from image_syncer.embedded import DOUBLES, DirectoryStorage, EmbeddedRegistry, MemoryStorage

    host, port = listen
    try:
        storage = MemoryStorage() if root is None else DirectoryStorage(root)
    except OSError as error:
        raise click.UsageError(f"--root {root}: {error.strerror}. Give a folder that may be written to.") from None
    double = None if behave is None else DOUBLES[behave]
    server = EmbeddedRegistry(storage, None if double is None else double.behaviour, host=host, port=port)
    asyncio.run(_serve(server, listen, root or "memory", double))


async def _serve(server: EmbeddedRegistry, listen: tuple[str, int], place: str, double: Double | None) -> None:
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
    kind = "a registry for tests" if double is None else f"a double of {double.title}, for tests,"
    say(f"Serving {kind} on http://{server.address} (content in {place}). Ctrl-C ends it.")
    if double is not None and double.credential is not None:
        say("It takes the user {} with the password {}.".format(*double.credential))
    try:
        await stop.wait()
    finally:
        await server.stop()
