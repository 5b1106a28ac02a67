"""What our own source and sink have in common as programs: options, the listening socket, the line that says ready."""

from __future__ import annotations

import argparse
import gc
import resource
import socket
import ssl
from typing import TYPE_CHECKING

from perf.stage.access import Access
from perf.stage.limits import Allowance, Gate
from perf.stage.processes import READY
from perf.stage.web import Server

if TYPE_CHECKING:
    from perf.stage.exchange import Site

__all__ = ["parse_arguments", "serve"]

BACKLOG = 4096
"""More connections than any client opens at once."""

YOUNG_OBJECTS = 50_000
"""New objects between two collections of garbage: what a request makes is freed by its reference count."""


def parse_arguments(description: str, *more: str) -> argparse.Namespace:
    """The options that all servers have, and those named in `more`, each with a value."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--auth", choices=("basic", "bearer"))
    parser.add_argument("--bytes-per-s", type=int)
    parser.add_argument("--refuse-429", nargs=2, type=float, metavar=("REQUESTS_PER_S", "RETRY_AFTER_S"))
    for option in more:
        parser.add_argument(option)
    return parser.parse_args()


def serve(site: Site, arguments: argparse.Namespace) -> None:
    """Listen on a free port of loopback, say so on standard output, and serve until the process is ended."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    tls = None
    if arguments.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*arguments.tls)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = Server(
        listener,
        site,
        tls=tls,
        access=Access(arguments.auth, "http" if tls is None else "https") if arguments.auth else None,
        allowance=Allowance(arguments.bytes_per_s) if arguments.bytes_per_s else None,
        gate=Gate(int(arguments.refuse_429[0]), arguments.refuse_429[1]) if arguments.refuse_429 else None,
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    print(f"{READY}127.0.0.1:{listener.getsockname()[1]}", flush=True)
    server.run()
