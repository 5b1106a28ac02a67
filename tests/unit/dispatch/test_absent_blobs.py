from __future__ import annotations

from image_syncer.dispatch import transfers
from image_syncer.dispatch.transfers import AbsentBlobs
from image_syncer.oci import Repository, digest_of

APP, OTHER = Repository("r.example", "team/app"), Repository("r.example", "team/other")
DIGEST = digest_of(b"a blob")


def test_each_is_told_once():
    absent = AbsentBlobs()
    absent.add(APP, DIGEST)
    assert not absent.take(OTHER, DIGEST)
    assert absent.take(APP, DIGEST)
    assert not absent.take(APP, DIGEST)


def test_there_is_a_bound(monkeypatch):
    monkeypatch.setattr(transfers, "MOST_ABSENT", 2)
    absent = AbsentBlobs()
    digests = [digest_of(bytes([number])) for number in range(3)]
    for digest in digests:
        absent.add(APP, digest)
    assert [absent.take(APP, digest) for digest in digests] == [False, False, True]
