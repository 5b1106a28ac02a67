"""When a cloud is asked, and what counts where it fails; the clock is ours."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from image_syncer.config import RegistryBook, RegistryEntry
from image_syncer.config.registry_book import CloudSettings
from image_syncer.credentials import CredentialError, CredentialSource
from image_syncer.credentials.clouds import CloudSource, find_place
from image_syncer.credentials.clouds.place import CloudGrant, ExtraMissingError, NoIdentityError
from image_syncer.oci import parse_repository
from image_syncer.registry import Credential

LOGIN = {"username": "me", "password": "p"}
ECR = find_place("123456789012.dkr.ecr.eu-west-1.amazonaws.com")
GCR = find_place("gcr.io")
ALIYUN = find_place("team-registry.cn-hangzhou.cr.aliyuncs.com")


class Cloud:
    """Answers as it is told, and counts; the clock stands still until it is moved."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.now = 1000.0

    def ask(self, place, _environ):
        self.asked.append(place)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def source(self, **options):
        return CloudSource({}, clock=lambda: self.now, ask=self.ask, **options)

    def left_s(self, found):
        """For how long it is good from now."""
        return None if found.good_until_s is None else found.good_until_s - self.now


def find(source, place, **how):
    """What the source says for a repository at the registry of `place`."""
    return source.find(parse_repository(f"{place.registry}/team/app"), RegistryBook(), **how)


def answer(cloud, source, place):
    """The credential, for how long it is good, and where it comes from."""
    found = find(source, place)
    return found.credential, cloud.left_s(found), found.source


def grant(number, lives_s=100.0):
    return CloudGrant(Credential("AWS", f"p{number}"), "AWS (env)", lives_s)


def test_a_credential_is_asked_for_once_and_renewed_at_four_fifths_of_its_life():
    cloud = Cloud(grant(1), grant(2))
    source = cloud.source()
    assert answer(cloud, source, ECR) == (grant(1).credential, 80.0, "AWS (env)")
    cloud.now += 79
    assert answer(cloud, source, ECR) == (grant(1).credential, 1.0, "AWS (env)")
    cloud.now += 1
    assert answer(cloud, source, ECR) == (grant(2).credential, 80.0, "AWS (env)")
    assert len(cloud.asked) == 2


def test_one_without_an_end_is_never_asked_for_again():
    cloud = Cloud(grant(1, None))
    source = cloud.source()
    assert find(source, ECR).good_until_s is None
    cloud.now += 1e9
    assert find(source, ECR).credential == grant(1).credential
    assert len(cloud.asked) == 1


def test_a_renewal_that_fails_leaves_the_old_one_until_it_expires():
    cloud = Cloud(grant(1, 1000.0), CredentialError("throttled"), CredentialError("throttled"), grant(2, 1000.0))
    source = cloud.source()
    find(source, ECR)
    cloud.now += 800
    assert answer(cloud, source, ECR) == (grant(1).credential, 60.0, "AWS (env)")
    assert cloud.left_s(find(source, ECR)) == 60.0
    assert len(cloud.asked) == 2
    cloud.now += 60
    assert find(source, ECR).credential == grant(1).credential
    cloud.now += 60
    assert answer(cloud, source, ECR) == (grant(2).credential, 800.0, "AWS (env)")


def test_a_renewal_that_fails_until_the_old_one_has_expired_is_told():
    cloud = Cloud(grant(1), CredentialError("gone"))
    source = cloud.source()
    find(source, ECR)
    cloud.now += 85
    assert cloud.left_s(find(source, ECR)) == 15.0
    cloud.now += 15
    with pytest.raises(CredentialError, match="gone"):
        find(source, ECR)


def test_a_private_registry_whose_cloud_refuses_fails_and_is_tried_again_later():
    cloud = Cloud(CredentialError("AccessDenied"), grant(1))
    source = cloud.source()
    for _ in range(2):
        with pytest.raises(CredentialError, match="AccessDenied"):
            find(source, ECR)
    assert len(cloud.asked) == 1
    cloud.now += 30
    assert find(source, ECR).credential == grant(1).credential


def test_a_public_registry_is_asked_as_anybody_may_where_its_cloud_refuses():
    cloud = Cloud(CredentialError("reauthentication is needed"))
    assert answer(cloud, cloud.source(), GCR) == (None, 30.0, "anonymous (reauthentication is needed)")


def test_without_an_identity_or_an_extra_it_is_anonymous_and_says_why():
    cloud = Cloud(NoIdentityError())
    why = "anonymous (Alibaba Cloud: no identity there was found on this machine)"
    assert answer(cloud, cloud.source(), ALIYUN) == (None, None, why)
    cloud = Cloud(ExtraMissingError())
    why = "anonymous (AWS: pip install 'image-syncer[aws]' would ask it)"
    assert answer(cloud, cloud.source(), ECR) == (None, None, why)


def test_a_failure_that_nobody_foresaw_holds_nothing_of_what_it_said():
    with pytest.raises(CredentialError) as caught:
        find(Cloud(ValueError("the secret is hunter2")).source(), ECR)
    assert "hunter2" not in str(caught.value)
    assert "ValueError" in str(caught.value)


def test_what_was_refused_is_asked_for_anew():
    cloud = Cloud(grant(1), grant(2))
    source = cloud.source()
    found = find(source, ECR)
    assert find(source, ECR, after=found.learnt_at_s - 1).credential == grant(1).credential
    cloud.now += 7
    assert find(source, ECR, after=found.learnt_at_s).credential == grant(2).credential
    assert find(source, ECR, after=found.learnt_at_s).learnt_at_s == cloud.now
    assert len(cloud.asked) == 2


def test_many_threads_ask_once():
    cloud = Cloud(grant(1))
    source = cloud.source()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _n: find(source, ECR), range(16)))
    assert {each.credential for each in answers} == {grant(1).credential}
    assert len(cloud.asked) == 1


def test_a_cloud_that_says_nothing_is_not_waited_for_longer_than_is_bearable():
    hang = threading.Event()
    source = CloudSource({}, ask=lambda *_: hang.wait(), timeout_s=0.05)
    with pytest.raises(CredentialError, match=r"within 0\.05 s"):
        find(source, ECR)
    hang.set()


def test_the_end_of_a_run_ends_the_waiting():
    hang, asked = threading.Event(), threading.Event()

    def ask(*_):
        asked.set()
        hang.wait()

    source = CloudSource({}, ask=ask)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(find, source, ECR)
        assert asked.wait(30)
        source.close()
        with pytest.raises(CredentialError, match="ended"):
            waiting.result(30)
    hang.set()
    with pytest.raises(CredentialError, match="ended"):
        find(source, find_place("contoso.azurecr.io"))


def test_the_cloud_comes_after_docker_and_before_nobody(tmp_path):
    cloud = Cloud(grant(1))
    environ = {"HOME": str(tmp_path), "PATH": ""}
    source = CredentialSource(environ, clouds=cloud.source())
    repository = parse_repository(f"{ECR.registry}/team/app")
    found = source.find_credential(repository, RegistryBook())
    assert (found.credential, found.source, cloud.left_s(found)) == (grant(1).credential, "AWS (env)", 80.0)
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": {ECR.registry: LOGIN}}))
    assert CredentialSource(environ, clouds=cloud.source()).find_credential(repository, RegistryBook()).source == (
        f"{tmp_path}/.docker/config.json, {ECR.registry}"
    )
    own = RegistryBook([RegistryEntry(ECR.registry, Credential("own", "p"))])
    assert source.find_credential(repository, own).source == f"auth file, {ECR.registry}"
    assert len(cloud.asked) == 1


def test_the_user_turns_the_cloud_off(tmp_path):
    cloud = Cloud(grant(1))
    book = RegistryBook([RegistryEntry("gcr.io", cloud=CloudSettings("off"))])
    source = CredentialSource({"HOME": str(tmp_path)}, clouds=cloud.source())
    assert source.find_credential(parse_repository("gcr.io/a/b"), book).source == "anonymous"
    assert source.describe(parse_repository("gcr.io/a/b"), book).source == "anonymous"
    assert cloud.asked == []


def test_what_would_be_asked_is_described_without_asking(tmp_path):
    cloud = Cloud(grant(1))
    source = CredentialSource({"HOME": str(tmp_path)}, clouds=cloud.source())
    said = source.describe(parse_repository("team-registry.cn-hangzhou.cr.aliyuncs.com/a/b"), RegistryBook())
    assert said.source == "Alibaba Cloud, if this machine has an identity there"
    assert source.describe(parse_repository("quay.io/a/b"), RegistryBook()).source == "anonymous"
    assert cloud.asked == []


def test_an_extra_that_would_help_is_named(monkeypatch):
    monkeypatch.setattr("image_syncer.credentials.clouds.source.find_spec", lambda _name: None)
    repository = parse_repository(f"{ECR.registry}/team/app")
    described = CloudSource({}).describe(repository, RegistryBook())
    assert described is not None
    assert described.source == "anonymous (AWS: pip install 'image-syncer[aws]' would ask it)"
