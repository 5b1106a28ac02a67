"""Nothing that a Dask cluster writes, keeps or shows has a secret of the runs that it works for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from safety.test_canaries import nest  # noqa: F401 - a fixture
from support.canaries import Canaries

if TYPE_CHECKING:
    from cluster.conftest import Dask
    from safety.test_canaries import Nest

pytestmark = pytest.mark.slow


def _state(dask_scheduler: Any) -> str:
    """What a scheduler knows, and has written down of what happened."""
    return repr((dask_scheduler.identity(), dict(dask_scheduler.tasks), dask_scheduler.get_events()))


@pytest.mark.parametrize("mode", ["fine", "storage refuses", "403", "cut"])
def test_the_cluster_keeps_no_secret(nest: Nest, dask: Dask, mode: str) -> None:  # noqa: F811 - the fixture
    nest.source.mode = mode
    code, err = nest.run("sync", *nest.sync_words(*dask.words))
    assert code == (0 if mode == "fine" else 1), err
    assert any("Basic" in told for told in nest.source.heard)
    told = {
        "logs of workers": repr(dask.client.get_worker_logs()).encode(),
        "logs of the scheduler": repr(dask.client.get_scheduler_logs()).encode(),
        "the scheduler": str(dask.client.run_on_scheduler(_state)).encode(),
    }
    for pid in dask.pids().values():
        proc = Path(f"/proc/{pid}")
        told |= {f"{name} of {pid}": (proc / name).read_bytes() for name in ("cmdline", "environ")}
    assert Canaries(nest.canaries).found_in(told) == []
