"""Trials: what a run owes to a kind of registry because its profile knows it, and what a generic one cannot do.

Each is an essay of the same kind: something is asked of a double, and afterwards either no request met a quirk that the
profile knows of, or the failure says what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from image_syncer.config import TagSelection
from image_syncer.embedded import Fault, FaultKind, push_to
from image_syncer.registry import Operation
from registries.stage import LARGE, OWN_APP, TAG, set_stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registries.stage import Stage
    from support.sync_runs import SyncLab

_CUT_AFTER = 2 * 2**20
_CUT = 16 * 2**20  # bytes of the blob that is cut: more than what the system takes from us before the other side has it
_MANY = 25  # images; more than the manifests that ECR takes in two seconds


@dataclass(frozen=True)
class Trial:
    """`play` is done with a double that has `changes`; the quirks `known` must not be met, or the one failure must
    say all of `words`. One that is like another, or takes its time, is played `seldom`.
    """

    what: str
    play: Callable[[Stage, Trial], None]
    known: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    seldom: bool = False

    def run(self, lab: SyncLab, kind: str, profile: str | None) -> None:
        """Play with a double of `kind` under `profile` (None: whatever it is recognised as). Raises AssertionError
        where the promise is not kept.
        """
        self.play(set_stage(lab, kind, profile, **self.changes), self)


def _push_all(stage: Stage, trial: Trial) -> None:
    """Shared layers to repositories of one owner and of another."""
    images = stage.images()
    for name, image in images.items():
        push_to(stage.lab.source.storage, name, image, [TAG])
    stage.found(*images)
    done = stage.lab.run(*stage.rules_to(stage.double, stage.lab.source, *images))
    assert done.outcomes == ["copied"] * len(images)
    assert not trial.known & stage.quirks()


def _push_again_under_another_tag(stage: Stage, trial: Trial) -> None:
    """An image whose large layer the repository has already, as the run must find out."""
    layer = stage.lab.content.layer(LARGE)
    stage.found(OWN_APP)
    push_to(stage.double.storage, OWN_APP, stage.lab.content.image([layer]), ["v0"])
    push_to(stage.lab.source.storage, OWN_APP, stage.lab.content.image([layer]), [TAG])
    done = stage.lab.run(*stage.rules_to(stage.double, stage.lab.source, OWN_APP))
    assert done.outcomes == ["copied"]
    assert done.at(stage.double).bytes_in < LARGE
    assert not trial.known & stage.quirks()


def _push_many(stage: Stage, trial: Trial) -> None:
    """More images than the registry takes manifests in a second."""
    names = [f"team/group/app{number}" for number in range(_MANY)]
    for name in names:
        push_to(stage.lab.source.storage, name, stage.lab.content.image(1), [TAG])
    stage.found(*names)
    done = stage.lab.run(*stage.rules_to(stage.double, stage.lab.source, *names))
    assert done.outcomes == ["copied"] * len(names)
    assert not trial.known & stage.quirks()


def _pull_all_tags(stage: Stage, _trial: Trial) -> None:
    """A whole repository, whose tags have to be listed."""
    image = stage.lab.content.image(1)
    push_to(stage.double.storage, OWN_APP, image, [TAG, "v2", "v3"])
    rule = stage.lab.rule(OWN_APP, TagSelection(), origin=stage.double)
    assert stage.lab.run(rule, exit_code=None).outcomes == ["copied"] * 3


def _push_over_a_cut(stage: Stage, trial: Trial) -> None:
    """A large blob whose upload breaks in the middle."""
    layer = stage.lab.content.layer(_CUT)
    image = stage.lab.content.image([layer])
    push_to(stage.lab.source.storage, OWN_APP, image, [TAG])
    stage.found(OWN_APP)
    cut = Fault(Operation.PUT_UPLOAD, FaultKind.RESET, match=layer.digest.partition(":")[2], after_bytes=_CUT_AFTER)
    stage.double.behaviour = replace(stage.double.behaviour, faults=(cut,))
    done = stage.lab.run(*stage.rules_to(stage.double, stage.lab.source, OWN_APP))
    assert done.outcomes == ["copied"]
    assert not trial.known & stage.quirks()


def _push_to_nowhere(stage: Stage, trial: Trial) -> None:
    """To a project, namespace or repository that nobody made."""
    push_to(stage.lab.source.storage, OWN_APP, stage.lab.content.image(), [TAG])
    _assert_explained(stage, trial)


def _push_over_a_tag(stage: Stage, trial: Trial) -> None:
    """To a tag that has other content and may not be changed."""
    push_to(stage.double.storage, OWN_APP, stage.lab.content.image(), [TAG])
    push_to(stage.lab.source.storage, OWN_APP, stage.lab.content.image(), [TAG])
    _assert_explained(stage, trial)


def _assert_explained(stage: Stage, trial: Trial) -> None:
    done = stage.lab.run(*stage.rules_to(stage.double, stage.lab.source, OWN_APP), exit_code=1)
    said = str(done.error)
    assert [word for word in trial.words if word not in said] == [], said


_MOUNTS = frozenset({"mount ignored"})
_STATUS = frozenset({"session status refused"})
_IMMUTABLE = {"immutable_tags": True}

TRIALS: Mapping[str, tuple[Trial, ...]] = {
    "ecr": (
        Trial("asks for no mounts", _push_all, known=_MOUNTS),
        Trial(
            "keeps to the limits that are published", _push_many, known=frozenset({"too many requests"}), seldom=True
        ),
        Trial("looks before it sends", _push_again_under_another_tag, known=_MOUNTS),
        Trial("says to create the repository", _push_to_nowhere, words=("aws ecr create-repository",)),
    ),
    "ecr-public": (
        Trial("asks for no mounts", _push_all, known=_MOUNTS),
        Trial("says to create the repository", _push_to_nowhere, words=("aws ecr",), seldom=True),
    ),
    "gar": (Trial("sends no pieces after a cut", _push_over_a_cut, known=frozenset({"patch refused"})),),
    "hub": (Trial("says what to do", _push_over_a_tag, words=("makes its tags immutable",), changes=_IMMUTABLE),),
    "acr-aliyun": (Trial("says what may be missing", _push_to_nowhere, words=("namespace",)),),
    "acr-azure": (
        Trial("asks for the right to list tags", _pull_all_tags),
        Trial("asks no session how far it has come", _push_over_a_cut, known=_STATUS),
    ),
    "ghcr": (Trial("mounts from the same owner only", _push_all, known=_MOUNTS),),
    "quay": (
        Trial("says whose quota is used up", _push_to_nowhere, words=("organization",), changes={"capacity_bytes": 1}),
    ),
    "harbor": (
        Trial("says to create the project", _push_to_nowhere, words=("create it in Harbor",)),
        Trial(
            "says which rule it is", _push_over_a_tag, words=("a rule of the project",), changes=_IMMUTABLE, seldom=True
        ),
        Trial("says that the quota is used up", _push_over_a_tag, words=("used up",), changes={"capacity_bytes": 1}),
    ),
    "gitlab": (Trial("says that the project may be missing", _push_to_nowhere, words=("does not exist, or",)),),
    "nexus": (Trial("says what to allow", _push_over_a_tag, words=("allow redeploys",), changes=_IMMUTABLE),),
    "artifactory": (
        Trial("says which right is missing", _push_over_a_tag, words=("permission to delete",), changes=_IMMUTABLE),
    ),
    "registry2": (Trial("asks no session how far it has come", _push_over_a_cut, known=_STATUS),),
    "registry3": (Trial("asks no session how far it has come", _push_over_a_cut, known=_STATUS, seldom=True),),
}
"""By kind."""

PLAIN_KINDS = frozenset({"zot"})
"""Kinds of which the profile knows nothing that a registry does otherwise: there is nothing to try."""
