"""Clusters that cannot be used: said before anything is done, with exit code 2 and what to do."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import pytest

from image_syncer import ConfigurationError
from image_syncer.cluster.connection import ClusterAddress, ClusterConnection, parse_cluster_address, quiet_dask
from support.certificates import make_certificates
from support.sync_process import RunFiles, SyncProcess

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.conftest import Dask
    from process.conftest import Pair

OTHER_VERSION = "0.0.9"


def refused(pair: Pair, *words: str, **more: object) -> str:
    """What a run says that does not begin."""
    with pair.run(*words, **more) as run:
        assert run.wait() == 2, run.out + run.err
    assert pair.source.counters.values().requests == {}
    assert not run.files.report.exists()
    return run.err


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("tcp://scheduler.example:8786", "is not encrypted, and tokens of registries would travel over it"),
        ("tcp://10.0.0.1:8786", "is not encrypted"),
        ("scheduler.example:8786", "is no address of a Dask scheduler"),
        ("tls://scheduler.example", "is no address of a Dask scheduler"),
        ("tls://scheduler.example:port", "is no address of a Dask scheduler"),
        ("ws://127.0.0.1:8786", "is no address of a Dask scheduler"),
        ("tls://me:secret@scheduler.example:8786", "tls://scheduler.example:8786 has more than host and port"),
    ],
)
def test_an_address_that_cannot_be_used(address: str, what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        parse_cluster_address(address)
    assert str(caught.value).endswith("; write tls://HOST:PORT")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["tls://scheduler.example:8786", "tcp://127.0.0.1:8786", "tcp://localhost:1", "tcp://[::1]:8786"]
)
def test_an_address_that_can(address: str) -> None:
    assert parse_cluster_address(address) == address


def test_a_scheduler_that_is_not_there(pair: Pair) -> None:
    pair.add_images(1, layer_bytes=1000)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        said = refused(pair, "--cluster", address, "--connect-timeout", "1s")
    assert f"--cluster [{address}]: the scheduler does not answer: " in said
    assert "check that a scheduler runs there" in said


@pytest.mark.extended
def test_another_version(pair: Pair, dask: Dask, tmp_path: Path) -> None:
    pair.add_images(1, layer_bytes=1000)
    other = tmp_path / "other" / f"image_syncer-{OTHER_VERSION}.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text(f"Metadata-Version: 2.1\nName: image-syncer\nVersion: {OTHER_VERSION}\n")
    first = f"import sys; sys.path.insert(0, {str(other.parent)!r})"
    said = refused(pair, *dask.words, sabotage=first)
    assert said.count(f", and this is {OTHER_VERSION} → install the same version on both") == len(dask.pids())
    dask.assert_left_alone()


def test_places_of_this_machine(pair: Pair, tmp_path: Path) -> None:
    pair.add_images(1, layer_bytes=1000)
    files = RunFiles(tmp_path / "run")
    files.write(pair.source.address, pair.destination.address, pair.images)
    files.images.write_text(json.dumps({f"{pair.source.address}/team/app0:v1": f"oci:{tmp_path}/layout:app"}))
    with SyncProcess(files, "--cluster", "tls://scheduler.invalid:8786") as run:
        assert run.wait() == 2
    assert "is on this machine, where the workers of --cluster are not" in run.err
    assert not (tmp_path / "layout").exists()


@pytest.mark.extended
@pytest.mark.parametrize(("name", "how"), [("cwd/only-here.pem", "lacks"), ("cmdline", "has another")])
def test_certificates_that_are_only_here(pair: Pair, dask: Dask, name: str, how: str) -> None:
    """What a process sees below /proc/self is its own, as if it were on another machine."""
    pair.add_images(1, layer_bytes=1000)
    path = f"/proc/self/{name}"
    files = RunFiles(pair.directory / "run")
    files.write(pair.source.address, pair.destination.address, pair.images)
    auth = json.loads(files.auth.read_text())
    auth[pair.destination.address]["ca_file"] = path
    files.auth.write_text(json.dumps(auth))
    (files.directory / "only-here.pem").write_text("made up")
    with SyncProcess(files, *dask.words) as run:
        assert run.wait() == 2, run.out + run.err
    told = f": {how} {path}, which {pair.destination.address} needs → put the same file there, at the same path"
    assert run.err.count(told) == len(dask.pids())
    assert pair.source.counters.values().requests == {}


class MadeUpClient:
    """A client of a scheduler with one Dask worker at `address`, which tells `answer` as its version."""

    status = "running"

    async def close(self, timeout: float) -> None:
        self.status = "closed"

    def __init__(self, address: str, answer: object) -> None:
        self.address, self.answer = address, answer

    async def nthreads(self) -> dict[str, int]:
        return {self.address: 1}

    async def run(self, _function: object, *_arguments: object, **_more: object) -> dict[str, object]:
        return {self.address: self.answer}


@pytest.mark.parametrize(
    ("address", "answer", "what"),
    [
        (
            "tls://10.0.0.1:1",
            version("image-syncer"),
            "--workers 7 is more than there are: one Dask worker",
        ),
        ("tls://10.0.0.1:1", PackageNotFoundError("image-syncer"), "tls://10.0.0.1:1: has no image-syncer → install"),
        ("tcp://10.0.0.1:1", version("image-syncer"), "tcp://10.0.0.1:1: is not encrypted, and tokens of registries"),
        ("tls://10.0.0.1:1", OSError("gone"), "Dask workers that do not answer: tls://10.0.0.1:1 → see what"),
    ],
)
def test_a_dask_worker_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, address: str, answer: object, what: str
) -> None:
    connection = ClusterConnection(ClusterAddress("tcp://127.0.0.1:1"), {}, 100, 0.1)

    async def connect(self: ClusterConnection) -> None:
        self._client = MadeUpClient(address, answer)

    monkeypatch.setattr(ClusterConnection, "_connect", connect)
    with pytest.raises(ConfigurationError, match=re.escape(what)):
        asyncio.run(connection.open(7 if "--workers" in what else None))


def test_without_the_extra(pair: Pair) -> None:
    pair.add_images(1, layer_bytes=1000)
    said = refused(pair, "--cluster", "tcp://127.0.0.1:1", sabotage="import sys; sys.modules['distributed'] = None")
    assert "--cluster needs dask.distributed, which is missing" in said
    assert "pip install 'image-syncer[cluster]'" in said


def test_options_that_go_with_it(pair: Pair) -> None:
    said = refused(pair, "--cluster-ca", "ca.pem")
    assert "--cluster-ca goes with --cluster, which was not given." in said


@pytest.mark.extended
def test_a_certificate_of_nobody(pair: Pair, dask: Dask, tmp_path: Path) -> None:
    pair.add_images(1, layer_bytes=1000)
    stranger = make_certificates(tmp_path / "stranger")
    ours = ("--cluster-ca", str(dask.certificates.authority))
    theirs = ("--cluster-cert", str(stranger.certificate), "--cluster-key", str(stranger.key))
    said = refused(pair, "--cluster", dask.address, *ours, *theirs, "--connect-timeout", "1s")
    assert "the scheduler does not answer" in said
    said = refused(pair, "--cluster", dask.address, *ours, "--cluster-cert", str(tmp_path / "none.pem"))
    assert f"{tmp_path}/none.pem cannot be read → name a PEM file" in said
    dask.assert_left_alone()


@pytest.mark.slow
def test_without_encryption_on_loopback(pair: Pair) -> None:
    from distributed import LocalCluster

    pair.add_images(2, layer_bytes=1000)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as cluster:
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")
        with pair.run("--cluster", cluster.scheduler_address) as run:
            assert run.wait() == 0, run.err
    pair.assert_copied()


class SlowClient(MadeUpClient):
    """Of two Dask workers, the second stands still; and the scheduler may be away."""

    silent = "tls://10.0.0.2:2"
    is_away = False

    async def nthreads(self) -> dict[str, int]:
        if self.is_away:
            raise AttributeError("'NoneType' object has no attribute 'ncores'")  # a client that Dask is closing
        return {self.address: 1, self.silent: 1}

    async def run(
        self, _function: object, *_arguments: object, workers: list[str], **_more: object
    ) -> dict[str, object]:
        if workers == [self.silent]:
            await asyncio.sleep(3600)
        return {self.address: self.answer}


def connected(monkeypatch: pytest.MonkeyPatch) -> tuple[ClusterConnection, SlowClient]:
    connection = ClusterConnection(ClusterAddress("tcp://127.0.0.1:1"), {}, 100, 0.2)
    client = SlowClient("tls://10.0.0.1:1", version("image-syncer"))

    async def connect(self: ClusterConnection) -> None:
        self._client = client

    monkeypatch.setattr(ClusterConnection, "_connect", connect)
    return connection, client


def test_a_dask_worker_that_stands_still_holds_up_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    connection, _ = connected(monkeypatch)
    assert asyncio.run(connection.open(None)) == 1


def test_a_dask_worker_that_stands_still_is_named_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    connection, client = connected(monkeypatch)
    with pytest.raises(ConfigurationError, match=f"do not answer: {client.silent} → see what they do"):
        asyncio.run(connection.open(2))


def test_a_scheduler_that_goes_away_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    connection, client = connected(monkeypatch)
    client.is_away = True
    with pytest.raises(ConfigurationError, match="the scheduler does not answer"):
        asyncio.run(connection.open(None))


def test_a_client_that_has_given_up_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's gives up a scheduler that is away for longer than its time-out, and would never come back."""
    connection, client = connected(monkeypatch)

    class NewClient(SlowClient):
        def __await__(self):
            return iter(())

    async def main() -> str | None:
        await connection.open(None)
        client.status, client.is_away = "closed", True
        connection._make = lambda: NewClient(client.address, client.answer)
        return await asyncio.wait_for(connection._take(), 10)

    assert asyncio.run(main()) == client.address


def test_the_logs_of_the_program_are_as_they_were(dask: Dask) -> None:
    made = dask.certificates
    address = ClusterAddress(dask.address, str(made.authority), str(made.certificate), str(made.key))
    levels = {name: logging.getLogger(name).level for name in ("distributed", "distributed.client")}

    async def main() -> None:
        connection = ClusterConnection(address, {}, 100, 30)
        await connection.open(None)
        assert {logging.getLogger(name).level for name in levels} == {logging.CRITICAL}
        await connection.close()

    asyncio.run(main())
    assert {name: logging.getLogger(name).level for name in levels} == levels


def test_warnings_of_versions_are_kept_back_and_filters_given_back() -> None:
    """Dask warns of a numpy that is here and not there; with `-W error`, that was the end of the run."""
    from distributed.versions import VersionMismatchWarning

    table = "Mismatched versions found\n\n| numpy | 2.4 | None |"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        with quiet_dask():
            warnings.warn(VersionMismatchWarning(table), stacklevel=1)
            with pytest.raises(DeprecationWarning):
                warnings.warn(DeprecationWarning("of the program"), stacklevel=1)
        assert warnings.filters == before
        with pytest.raises(VersionMismatchWarning):
            warnings.warn(VersionMismatchWarning(table), stacklevel=1)
