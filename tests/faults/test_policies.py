"""What a policy refuses does not go out: by name, by what refers to it, by size and age, and by what a program says."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from image_syncer import load_report
from image_syncer.config import Configuration, parse_referrer_selection
from image_syncer.config.policy import NameLists, OnRefusal, Policy, PolicyCommand, parse_name_pattern
from image_syncer.errors import ConfigurationError
from image_syncer.reporting.chosen_work import find_unfinished
from image_syncer.telemetry import Outcome
from support.signed_images import signed_image
from support.sync_runs import REPOSITORY, TAG

if TYPE_CHECKING:
    from support.signed_images import SignedImage
    from support.sync_runs import Done, SyncLab

DENY_ALL = NameLists(deny=(parse_name_pattern("**"),))
LONG_AGO = "2020-01-02T03:04:05Z"


def program(directory: Path, text: str, **fields: object) -> PolicyCommand:
    """A program in Python, which begins in a few milliseconds: no site-packages."""
    path = directory / "policy.py"
    path.write_text(text, encoding="utf-8")
    return replace(PolicyCommand((sys.executable, "-S", "-E", str(path))), **fields)  # type: ignore[arg-type]


def assert_nothing_came(lab: SyncLab, done: Done) -> None:
    counted = done.at(lab.destination)
    assert not any(counted.count(name) for name in ("put manifest", "start upload", "put upload", "head blob"))
    assert lab.destination.storage.tag(REPOSITORY, TAG) is None


def test_a_name_that_is_denied_is_refused_before_anybody_is_asked(lab: SyncLab) -> None:
    lab.image()
    done = lab.run(exit_code=1, policies=[Policy("names", sources=DENY_ALL)])
    assert done.failure.error is not None
    assert done.failure.error["kind"] == "refused by policy"
    assert "“names” refuses it: the source" in (done.failure.reason or "")
    assert "is denied by “**”" in (done.failure.reason or "")
    assert done.report.totals.requests == {}
    assert_nothing_came(lab, done)


@pytest.mark.extended
def test_a_denied_name_is_refused_also_where_the_image_is_there(lab: SyncLab) -> None:
    lab.push(lab.image(), to=lab.destination)
    done = lab.run(exit_code=1, policies=[Policy("names", destinations=DENY_ALL)])
    assert "the destination" in (done.failure.reason or "")


def test_what_is_refused_can_be_skipped(lab: SyncLab) -> None:
    lab.image()
    done = lab.run(policies=[Policy("names", sources=DENY_ALL, on_refusal=OnRefusal.SKIP)])
    assert done.image.outcome is Outcome.SKIPPED
    assert (done.image.reason or "").startswith("the policy “names” refuses it: ")
    assert_nothing_came(lab, done)


@pytest.mark.extended
@pytest.mark.parametrize(("on_refusal", "outcome"), [(OnRefusal.FAIL, "not checked"), (OnRefusal.SKIP, "skipped")])
def test_a_verification_looks_at_names(lab: SyncLab, on_refusal: OnRefusal, outcome: str) -> None:
    lab.image()
    policies = [Policy("names", sources=DENY_ALL, on_refusal=on_refusal)]
    done = lab.verify(policies=policies, exit_code=int(on_refusal is OnRefusal.FAIL))
    assert done.outcomes == [outcome]


@pytest.mark.extended
def test_a_policy_holds_for_the_places_that_it_names_and_no_other(lab: SyncLab) -> None:
    other = lab.add_registry()
    image = lab.image()
    rule = lab.rule(to=[(lab.destination, REPOSITORY), (other, REPOSITORY)])
    to = (parse_name_pattern(f"{lab.destination.address}/**"),)
    done = lab.run(rule, exit_code=1, policies=[Policy("signed", to=to, require=("signature",))])
    assert done.outcomes == ["copied", "failed"], [image.reason for image in done.images]
    assert "the image has no signature" in (done.failure.reason or "")
    assert_nothing_came(lab, done)
    lab.assert_arrived(image, at=other)


@pytest.fixture
def signed(lab: SyncLab) -> SignedImage:
    made = signed_image(lab.content)
    lab.push(made.root)
    for referrer in made.by_subject.values():
        lab.push(referrer, tags=())
    return made


def test_what_has_the_required_signature_goes_out(lab: SyncLab, signed: SignedImage) -> None:
    policies = [Policy("signed", require=("signature",))]
    lab.run(policies=policies)
    lab.assert_arrived(signed.root)


@pytest.mark.extended
def test_what_is_carried_along_is_not_asked_for_a_signature_of_its_own(lab: SyncLab, signed: SignedImage) -> None:
    done = lab.run(policies=[Policy("signed", require=("signature",))], referrers=parse_referrer_selection("all"))
    assert {image.outcome for image in done.images} == {Outcome.COPIED}
    assert len(done.images) == 4


@pytest.mark.extended
def test_an_attached_tag_is_no_way_around_a_required_signature(lab: SyncLab) -> None:
    tag = f"sha256-{'a' * 64}.sig"
    lab.push(lab.content.image(1), tags=(tag,))
    done = lab.run(exit_code=1, policies=[Policy("signed", require=("signature",))])
    assert "the image has no signature" in (done.failure.reason or "")


@pytest.mark.extended
def test_a_signature_under_a_tag_of_its_own_needs_none(lab: SyncLab) -> None:
    tag = f"sha256-{'a' * 64}.sig"
    lab.push(lab.content.artifact("application/vnd.dev.cosign.simplesigning.v1+json"), tags=(tag,))
    done = lab.run(policies=[Policy("signed", require=("signature",))])
    assert done.outcomes == ["copied"]


def test_an_image_that_is_too_large_does_not_go_out(lab: SyncLab) -> None:
    lab.image(3)
    done = lab.run(exit_code=1, policies=[Policy("small", max_bytes=100)])
    assert "and may have 100 B" in (done.failure.reason or "")
    assert_nothing_came(lab, done)


@pytest.mark.extended
def test_an_image_that_is_too_old_does_not_go_out(lab: SyncLab) -> None:
    lab.image(created=LONG_AGO)
    done = lab.run(exit_code=1, policies=[Policy("young", max_age_s=86400.0)])
    assert "the image was created" in (done.failure.reason or "")
    assert_nothing_came(lab, done)


@pytest.mark.extended
def test_unchanged_images_are_not_looked_at(lab: SyncLab) -> None:
    lab.push(lab.image(), to=lab.destination)
    done = lab.run(policies=[Policy("small", max_bytes=1, require=("signature",))])
    assert done.outcomes == ["unchanged"]


def test_a_program_is_told_of_the_image_and_nothing_of_our_secrets(
    lab: SyncLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", "hunter2hunter2")
    monkeypatch.setenv("TEAM", "blue")
    text = "import json,os,sys\nask = json.load(sys.stdin)\nask['env'] = dict(os.environ)\n"
    text += f"json.dump(ask, open({str(tmp_path / 'asked.json')!r}, 'w'))\n"
    image = lab.push(lab.content.index(platforms=("linux/amd64", "linux/arm64"), attestations=True))
    lab.run(policies=[Policy("asked", command=program(tmp_path, text, environment=("TEAM",)))])
    asked = json.loads((tmp_path / "asked.json").read_text(encoding="utf-8"))
    environment = asked.pop("env")
    assert asked == {
        "version": 1,
        "source": {
            "reference": f"{lab.source.address}/{REPOSITORY}:{TAG}",
            "registry": lab.source.address,
            "repository": REPOSITORY,
            "tag": TAG,
        },
        "destination": {
            "reference": f"{lab.destination.address}/{REPOSITORY}:{TAG}",
            "registry": lab.destination.address,
            "repository": REPOSITORY,
            "tag": TAG,
        },
        "digest": image.digest,
        "source_digest": image.digest,
        "replaced_digest": None,
        "media_type": image.media_type,
        "artifact_type": None,
        "platforms": ["linux/amd64", "linux/arm64"],
        "annotations": json.loads(image.raw).get("annotations", {}),
        "bytes": sum(blob.size for blob in {blob.digest: blob for blob in image.all_blobs()}.values()),
        "dry_run": False,
    }
    assert environment["TEAM"] == "blue"
    assert "REGISTRY_PASSWORD" not in environment
    assert "DOCKER_CONFIG" not in environment


@pytest.mark.extended
def test_the_reason_of_a_program_is_told_as_people_may_see_it(lab: SyncLab, tmp_path: Path) -> None:
    lab.image()
    text = "print('\\n\\x1b[2J' + 'no licence ' * 100)\nprint('second line')\nraise SystemExit(1)\n"
    done = lab.run(exit_code=1, policies=[Policy("licence", command=program(tmp_path, text))])
    reason = done.failure.reason or ""
    assert "“licence” refuses it: \\u001b[2Jno licence no licence" in reason
    assert "second line" not in reason
    assert len(reason) < 1000
    assert_nothing_came(lab, done)


@pytest.mark.extended
def test_a_dry_run_asks_as_well(lab: SyncLab, tmp_path: Path) -> None:
    lab.image()
    text = "import json,sys\nsys.exit(1 if json.load(sys.stdin)['dry_run'] else 0)\n"
    done = lab.run(exit_code=1, dry_run=True, policies=[Policy("asked", command=program(tmp_path, text))])
    assert "it gave no reason" in (done.failure.reason or "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\nprint('traceback', file=sys.stderr)\nsys.exit(3)\n", "failed (exit code 3): traceback"),
        ("import os\nos.kill(os.getpid(), 9)\n", "failed (signal 9)"),
        ("import sys\nwhile True: sys.stdout.write('x' * 4096)\n", "wrote more than 65,536 bytes"),
    ],
)
@pytest.mark.parametrize("on_refusal", list(OnRefusal))
def test_a_program_that_gives_no_answer_lets_nothing_through(
    lab: SyncLab, tmp_path: Path, text: str, said: str, on_refusal: OnRefusal
) -> None:
    lab.image()
    done = lab.run(exit_code=1, policies=[Policy("asked", command=program(tmp_path, text), on_refusal=on_refusal)])
    assert said in (done.failure.reason or "")
    assert_nothing_came(lab, done)


@pytest.mark.extended
def test_a_program_that_is_not_there_lets_nothing_through(lab: SyncLab) -> None:
    lab.image()
    done = lab.run(exit_code=1, policies=[Policy("asked", command=PolicyCommand(("/no/such/program",)))])
    assert "program cannot be started: No such file or directory" in (done.failure.reason or "")


@pytest.mark.extended
def test_a_program_that_never_answers_is_ended_with_all_that_it_started(lab: SyncLab, tmp_path: Path) -> None:
    lab.image()
    text = "import subprocess,sys,time\n"
    text += f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"  # noqa: F541
    text += f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\ntime.sleep(600)\n"
    done = lab.run(exit_code=1, policies=[Policy("asked", command=program(tmp_path, text, timeout_s=2.0))])
    assert "did not answer within 2 s" in (done.failure.reason or "")
    assert not is_alive(int((tmp_path / "child").read_text(encoding="utf-8")))


@pytest.mark.extended
def test_what_a_program_leaves_behind_holds_nobody_up(lab: SyncLab, tmp_path: Path) -> None:
    image = lab.image()
    text = "import subprocess,sys\n"
    text += "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'])\n"
    lab.run(policies=[Policy("asked", command=program(tmp_path, text))])
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_retry_needs_the_policies_of_the_run(lab: SyncLab) -> None:
    lab.image()
    policy = Policy("names", sources=DENY_ALL)
    lab.run(exit_code=1, policies=[policy])
    unfinished = find_unfinished(load_report(str(lab.report_path)))
    assert unfinished.policies == ("names",)
    unfinished.check_policies(Configuration(policies=(policy,)))
    with pytest.raises(ConfigurationError, match=r"had policies \(“names”\)"):
        unfinished.check_policies(Configuration())


def is_alive(pid: int) -> bool:
    """A child that nobody waits for may still be listed, as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
