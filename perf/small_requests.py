"""What one small request costs in CPU, and one tag of a run in which nothing changed.

    python perf/small_requests.py                         this checkout
    python perf/small_requests.py --baseline DIR          against another one, in turn

Needs nginx: it answers from its configuration, and costs a fraction of what is measured. Only the CPU seconds of the
processes of the tool are counted (getrusage(2) of those that were waited for), so the server does not matter, and a
machine that is busy otherwise does not matter much.

Measured: `RegistryClient.send` of HEAD requests on kept connections, with some in flight at a time; `image-syncer sync`
over tags that are the same on both sides (two requests a tag), as a whole and for each further tag; and how long it
takes from the start of the command until the first request arrives.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import runpy
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
DIGEST = "sha256:" + "ab" * 32
IN_FLIGHT = (1, 16, 64)
REQUESTS = 20_000
FEW_TAGS = 200
MANY_TAGS = 5_000
_END_S = 10.0

_NGINX = """\
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    default_type application/vnd.oci.image.manifest.v1+json;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{servers}
}}
"""
_SERVER = """\
    server {{
        listen {address};
        location / {{
            add_header Docker-Content-Digest {digest};
            add_header Docker-Distribution-Api-Version registry/2.0;
            return 200 "{{}}";
        }}
    }}
"""
_CLIENT = """\
import asyncio, random, sys, time
import uvloop
from image_syncer.credentials import Found
from image_syncer.errors import Origin
from image_syncer.net import CurlDriver, OneCredential, RegistryClient, RetryRules
from image_syncer.net import Throttle, Timeouts, TokenBroker, Transport
from image_syncer.oci import Repository
from image_syncer.scheduling import RetryPolicy
from image_syncer.registry import Endpoint, build_head_manifest, parse_manifest_head
address, in_flight, requests = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
async def main():
    driver = CurlDriver(connections=256)
    transport = Transport(driver, Timeouts())
    broker = TokenBroker(transport, OneCredential(Found(None, "nobody")))
    client = RegistryClient(transport, broker, Throttle(), RetryRules(RetryPolicy(tries=1), random.random))
    endpoint = Endpoint(address, "http://" + address)
    repository = Repository(address, "team/app")
    async def one(number):
        request = build_head_manifest(endpoint, repository, f"v{number}")
        answer = await client.send(request, endpoint, origin=Origin.SOURCE)
        assert parse_manifest_head(answer).digest is not None
    async def some(count):
        for number in range(count): await one(number)
    await one(0)
    await asyncio.gather(*(some(20) for _ in range(in_flight)))
    began, wall = time.process_time(), time.monotonic()
    await asyncio.gather(*(some(requests // in_flight) for _ in range(in_flight)))
    done = requests // in_flight * in_flight
    print((time.process_time() - began) / done * 1e6, (time.monotonic() - wall) / done * 1e6)
    driver.close()
uvloop.run(main())
"""


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[tuple[str, str]]:
    """nginx on two free ports of loopback, which answers 200 with one digest to everything."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise SystemExit("nginx is needed for this measurement, and is not there")
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    servers = "".join(_SERVER.format(address=address, digest=DIGEST) for address in addresses)
    user = "user root root;" if os.geteuid() == 0 else ""
    config = directory / "nginx.conf"
    config.write_text(_NGINX.format(user=user, directory=directory, servers=servers))
    # The way in which nginx hands its sockets to a newer nginx: nobody else can take the ports meanwhile.
    numbers = [listener.fileno() for listener in listeners]
    child = subprocess.Popen(
        [program, "-p", str(directory), "-c", str(config), "-e", str(directory / "error.log")],
        env={"PATH": os.environ.get("PATH", ""), "NGINX": "".join(f"{number};" for number in numbers)},
        pass_fds=numbers,
    )
    for listener in listeners:
        listener.close()
    try:
        yield addresses[0], addresses[1]
    finally:
        child.terminate()
        child.wait(_END_S)


def run(command: Sequence[str], root: Path) -> tuple[str, float, float]:
    """Output, CPU seconds with all children, and wall seconds of a command that uses the checkout at `root`."""
    before, began = _cpu_s(), time.monotonic()
    done = subprocess.run(
        command, env=_environment(root), check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wall_s, cpu_s = time.monotonic() - began, _cpu_s() - before
    output = done.stdout.decode()
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{output}")
    return output, cpu_s, wall_s


def _environment(root: Path) -> dict[str, str]:
    """As the tool is installed: its modules are compiled once, whatever the environment says, and not into `root`."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = os.pathsep.join((str(root / "engine"), str(root / "cli")))
    environment["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir()) / f"small-requests-{os.getpid()}")
    return environment


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_client(root: Path, address: str, in_flight: int, requests: int) -> float:
    """CPU microseconds of one small request through the client, by the script of that checkout: its API may differ."""
    script = runpy.run_path(str(root / "perf" / Path(__file__).name))["_CLIENT"]
    output, _, _ = run([sys.executable, "-c", script, address, str(in_flight), str(requests)], root)
    return float(output.split()[0])


def measure_sync(root: Path, addresses: tuple[str, str], tags: int, directory: Path) -> tuple[float, float]:
    """CPU and wall seconds of a whole run over `tags` tags that are the same on both sides."""
    source, destination = addresses
    auth, images = directory / "auth.json", directory / "images.json"
    auth.write_text(json.dumps({address: {"insecure": True} for address in addresses}))
    names = ",".join(f"v{number}" for number in range(tags))
    images.write_text(json.dumps({f"{source}/team/app:{names}": f"{destination}/team/app"}))
    command = [sys.executable, "-m", "image_syncer_cli", "sync", "--auth", str(auth), "--images", str(images)]
    output, cpu_s, wall_s = run([*command, "--quiet", "--no-progress"], root)
    if f"{tags:,} unchanged" not in output:
        raise SystemExit(f"not every tag was found unchanged:\n{output}")
    return cpu_s, wall_s


def measure_first_request(root: Path, directory: Path) -> float:
    """Wall seconds from the start of the command until the first bytes of a request arrive at the source."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        images = directory / "first.json"
        images.write_text(json.dumps({f"{address}/team/app:v1": "127.0.0.1:9/team/app"}))
        began = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-m", "image_syncer_cli", "sync", "--images", str(images), "--no-progress"],
            env=_environment(root),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            connection, _ = listener.accept()
            connection.recv(1)  # of the TLS hello, behind which the request stands
            return time.monotonic() - began
        finally:
            child.kill()
            child.wait()


def measure(root: Path, addresses: tuple[str, str], directory: Path, requests: int) -> dict[str, float]:
    """Every figure once."""
    figures: dict[str, float] = {}
    for in_flight in IN_FLIGHT:
        count = requests if in_flight > 1 else requests // 4
        figures[f"request, {in_flight} in flight: CPU µs"] = measure_client(root, addresses[0], in_flight, count)
    few_s, _ = measure_sync(root, addresses, FEW_TAGS, directory)
    many_s, wall_s = measure_sync(root, addresses, MANY_TAGS, directory)
    figures["unchanged tag, start left out: CPU µs"] = (many_s - few_s) / (MANY_TAGS - FEW_TAGS) * 1e6
    figures[f"unchanged tag of {MANY_TAGS:,}, start included: CPU µs"] = many_s / MANY_TAGS * 1e6
    figures[f"run over {MANY_TAGS:,} unchanged tags: wall s"] = wall_s
    figures[f"run over {FEW_TAGS} unchanged tags: CPU s"] = few_s
    figures["command until first byte: wall s"] = measure_first_request(root, directory)
    return figures


def main() -> None:
    """Measure, and print medians with the smallest and the largest value."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, help="another checkout, measured in turn with this one")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    options = parser.parse_args()
    roots = {"baseline": options.baseline, "here": ROOT} if options.baseline else {"here": ROOT}
    compiled = Path(tempfile.gettempdir()) / f"small-requests-{os.getpid()}"
    results: dict[str, list[dict[str, float]]] = {name: [] for name in roots}
    with tempfile.TemporaryDirectory() as name, serve(Path(name)) as addresses:
        for root in roots.values():
            measure_sync(root, addresses, 1, Path(name))  # compiles what is imported
        for _ in range(options.runs):
            for root_name, root in roots.items():
                results[root_name].append(measure(root, addresses, Path(name), options.requests))
    shutil.rmtree(compiled, ignore_errors=True)
    for key in results["here"][0]:
        line = f"{key:<50}"
        for root_name in roots:
            values = [figures[key] for figures in results[root_name]]
            line += f"  {root_name} {statistics.median(values):8.3f} ({min(values):.3f}–{max(values):.3f})"
        print(line)


if __name__ == "__main__":
    main()
