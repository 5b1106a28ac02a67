"""A Dask cluster of three worker processes on loopback, with TLS, and two registries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("distributed", reason="the extra cluster is not installed")

from distributed import Client, LocalCluster, Security

from image_syncer.embedded import serve_in_thread
from process.conftest import Pair
from support.certificates import Certificates, make_certificates
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKERS = 3


def threads_of_ours() -> list[str]:
    """The engine's workers in this process; called in Dask workers."""
    import threading

    return [thread.name for thread in threading.enumerate() if thread.name.startswith("image-syncer")]


@dataclass
class Dask:
    """The cluster, and a client of it that looks on."""

    address: str
    client: Client
    certificates: Certificates

    @property
    def words(self) -> tuple[str, ...]:
        """The options of a run on it."""
        made = self.certificates
        files = ("--cluster-ca", made.authority, "--cluster-cert", made.certificate, "--cluster-key", made.key)
        return ("--cluster", self.address, *map(str, files))

    def pids(self) -> dict[str, int]:
        """The processes of the Dask workers, by address."""
        import os

        found: dict[str, int] = self.client.run(os.getpid)
        return found

    def engines(self) -> list[str]:
        """The engine's workers that there are now."""
        return [name for names in self.client.run(threads_of_ours).values() for name in names]

    def assert_left_alone(self) -> None:
        """Nothing of ours is left: no thread, and no actor that the scheduler knows."""
        wait_until(lambda: not self.engines(), "no engine is left")
        wait_until(lambda: not self.client.run_on_scheduler(_tasks), "no actor is left")


def _tasks(dask_scheduler: Any) -> list[str]:
    return [str(key) for key in dask_scheduler.tasks]


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    """A cluster for the tests of a module: an idle one costs a tenth of a core, so it does not stay for other tests."""
    made = make_certificates(tmp_path_factory.mktemp("tls"))
    pem = {"tls_ca_file": str(made.authority)}
    for role in ("client", "scheduler", "worker"):
        pem |= {f"tls_{role}_cert": str(made.certificate), f"tls_{role}_key": str(made.key)}
    with (
        LocalCluster(
            processes=True,
            n_workers=WORKERS,
            threads_per_worker=1,
            dashboard_address=":0",
            memory_limit=0,
            protocol="tls",
            security=Security(require_encryption=True, **pem),
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(WORKERS, timeout=120)
        yield Dask(cluster.scheduler_address, client, made)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with serve_in_thread() as source, serve_in_thread() as destination:
        yield Pair(source, destination, tmp_path)
