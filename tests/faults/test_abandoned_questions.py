"""Questions whose answers nobody waits for any more: what becomes of them is nobody's mistake."""

from __future__ import annotations

import gc
import logging
import socket
from typing import TYPE_CHECKING

import pytest

from image_syncer.config import Destination, RegistryEntry, Rule, TagSelection
from image_syncer.embedded import Behaviour
from image_syncer.oci import Repository
from image_syncer.telemetry import Outcome
from support.sync_runs import REPOSITORY, TAG

if TYPE_CHECKING:
    from support.sync_runs import SyncLab


@pytest.mark.extended
def test_a_destination_that_is_looked_for_in_vain_after_its_image_has_failed(
    lab: SyncLab, caplog: pytest.LogCaptureFixture
) -> None:
    """The source fails at once, so nobody waits for the destination, which is looked for a while yet; another image,
    whose source is slow, keeps the run going.
    """
    caplog.set_level(logging.WARNING)
    lab._entries[lab.source.address] = RegistryEntry(lab.source.address, None)  # HTTPS, which it does not speak
    slow = lab.add_registry(Behaviour(latency_s=0.5))
    lab.push(lab.content.image(1), to=slow)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nowhere = f"127.0.0.1:{listener.getsockname()[1]}"
    lab._entries[nowhere] = RegistryEntry(nowhere, None, insecure=True)
    lost = Destination(Repository(nowhere, REPOSITORY))
    first = Rule(Repository(lab.source.address, REPOSITORY), TagSelection(names=(TAG,)), (lost,))
    done = lab.run(first, lab.rule(origin=slow), exit_code=1, retries=2, retry_for_s=0.5, give_up_after_s=0.3)
    assert [image.outcome for image in done.images] == [Outcome.FAILED, Outcome.COPIED]
    gc.collect()
    assert [record.getMessage() for record in caplog.records if "never retrieved" in record.getMessage()] == []
