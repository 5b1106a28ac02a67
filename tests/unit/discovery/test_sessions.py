from __future__ import annotations

from image_syncer.discovery.registry_access import UploadSessions
from image_syncer.oci import Digest, Repository
from image_syncer.registry.capabilities import RegistryCapabilities

HERE = Repository("registry.example", "team/app")
BLOB = Digest("sha256:" + "a" * 64)


def test_a_session_is_known_by_its_newest_address_until_it_is_closed() -> None:
    told: list[str | None] = []
    sessions = UploadSessions(on_change=lambda _repository, _digest, url: told.append(url))
    sessions.note(HERE, BLOB, "https://registry.example/1")
    sessions.note(HERE, BLOB, "https://registry.example/2")
    assert sessions.known(HERE, BLOB) == "https://registry.example/2"
    assert sessions.urls == {(HERE, BLOB): "https://registry.example/2"}
    sessions.drop(HERE, BLOB)
    sessions.drop(HERE, BLOB)
    assert sessions.known(HERE, BLOB) is None
    assert told == ["https://registry.example/1", "https://registry.example/2", None]


def test_a_session_of_an_earlier_run_is_known() -> None:
    sessions = UploadSessions([(HERE, BLOB, "https://registry.example/1")])
    assert sessions.known(HERE, BLOB) == "https://registry.example/1"
    assert sessions.known(Repository("registry.example", "other"), BLOB) is None


def test_a_fact_is_told_once() -> None:
    told: list[tuple[str, str, bool]] = []
    capabilities = RegistryCapabilities(
        {("old.example", "takes pieces"): True}, on_learnt=lambda *fact: told.append(fact)
    )
    assert capabilities.note("new.example", "takes pieces", False)
    assert not capabilities.note("new.example", "takes pieces", False)
    assert not capabilities.note("old.example", "takes pieces", True)
    assert told == [("new.example", "takes pieces", False)]
    assert capabilities.all() == [("old.example", "takes pieces", True), ("new.example", "takes pieces", False)]
