"""Pruning: which tags and manifests of a destination repository may be deleted, since no rule selects them any more.

Everything that is not known to be deletable stays. What stays is closed under all links between manifests: from an
index to its children, from a referrer to its subject and back, from a digest to the tags that cosign and lists of
referrers derive from it and back. What is deleted was reached from a tag that no rule selects, and from nothing that
stays.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from image_syncer.oci import Digest
from image_syncer.patterns import lazy_pattern
from image_syncer.registry.referrers import COSIGN_TYPES, fallback_tag, is_attached_tag
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from image_syncer.oci import Repository


_NAMED = lazy_pattern(r"(sha256)-([0-9a-f]{64})(?:\.\w+)?|(sha512)-([0-9a-f]{128})(?:\.\w+)?")
_LEAST_MOST = 1
"""One tag may always be deleted: a share of four tags would never allow any."""


class ManifestNode(Value, frozen=True):
    """A manifest of a repository: its children, its subject, and its blobs."""

    digest: Digest
    children: tuple[Digest, ...] = ()
    subject: Digest | None = None
    blobs: tuple[Digest, ...] = ()


class RepositoryView(Value, frozen=True):
    """What is known of a repository: its tags, and every manifest that was reached. `untagged` are manifests without a
    tag that an earlier look found deletable.
    """

    repository: Repository
    tags: Mapping[str, Digest]
    nodes: Mapping[Digest, ManifestNode]
    untagged: frozenset[Digest] = frozenset()


class Keep(Value, frozen=True):
    """What stays: `why` gives the reason for which a tag with a digest does, or None; `digests` are of images that
    rules copy by digest. Only manifests of `only` may be deleted (None: all). With `orphans`, tags may be deleted that
    belong to a manifest that does not exist.
    """

    why: Callable[[str, Digest], str | None]
    digests: frozenset[Digest] = frozenset()
    only: frozenset[Digest] | None = None
    orphans: bool = False

    def may_go(self, digest: Digest) -> bool:
        """Whether the manifest may be deleted at all."""
        return self.only is None or digest in self.only


class GoingTag(Value, frozen=True):
    """A tag that is deleted alone: its manifest stays, since another tag, or an index under one, has it. `staying` are
    the other tags on it.
    """

    tag: str
    digest: Digest
    staying: tuple[str, ...] = ()


class GoingManifest(Value, frozen=True):
    """A manifest that is deleted, with all its tags; it has none where only another deleted manifest leads to it."""

    digest: Digest
    tags: tuple[str, ...]
    why: str


class RepositoryPrune(Value, frozen=True):
    """What is deleted of one repository, in order: tags, manifests with tags, those without. `left` is what no rule
    selects and stays all the same, as (tag, digest, reason).
    """

    repository: Repository
    tags_there: int
    tags: tuple[GoingTag, ...] = ()
    manifests: tuple[GoingManifest, ...] = ()
    left: tuple[tuple[str, Digest, str], ...] = ()

    __repr__ = repr_without("left")

    @property
    def tag_count(self) -> int:
        """The number of deleted tags."""
        return len(self.tags) + sum(len(each.tags) for each in self.manifests)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is deleted."""
        return not (self.tags or self.manifests)

    @property
    def going_tags(self) -> frozenset[tuple[str, Digest]]:
        """Every deleted tag, with its digest."""
        of_manifests = ((tag, each.digest) for each in self.manifests for tag in each.tags)
        return frozenset({*((each.tag, each.digest) for each in self.tags), *of_manifests})

    @property
    def going_digests(self) -> frozenset[Digest]:
        """Every deleted manifest."""
        return frozenset(each.digest for each in self.manifests)


def plan_prune(view: RepositoryView, keep: Keep) -> RepositoryPrune:
    """What of `view` is deleted. Nothing in the result is reached by anything that stays."""
    return _Pruning(view, keep).plan()


def most_tags(there: int, share: float) -> int:
    """How many of `there` tags may be deleted where `share` (0 to 1) of them may.

    >>> most_tags(100, 0.2), most_tags(3, 0.2), most_tags(0, 0.2)
    (20, 1, 1)
    """
    return max(_LEAST_MOST, math.floor(there * share + 1e-9))


def is_too_much(plans: Iterable[RepositoryPrune], share: float) -> list[RepositoryPrune]:
    """The repositories that would lose more than `share` of their tags."""
    return [plan for plan in plans if plan.tag_count > most_tags(plan.tags_there, share)]


def named_subject(tag: str) -> Digest | None:
    """The digest from which a tag of cosign, or of a list of referrers, is derived; None for another tag, and for one
    with only the beginning of its digest (the specification cuts those of SHA-512).

    >>> named_subject("sha256-" + "a" * 64 + ".sig") == "sha256:" + "a" * 64
    True
    """
    match = _NAMED.fullmatch(tag) if is_attached_tag(tag) else None
    if match is None:
        return None
    return Digest(f"{match[1] or match[3]}:{match[2] or match[4]}")


class _Pruning:
    def __init__(self, view: RepositoryView, keep: Keep) -> None:
        self._view = view
        self._keep = keep
        self._reasons = {tag: keep.why(tag, digest) for tag, digest in view.tags.items()}
        self._tags_of: dict[Digest, list[str]] = {}
        for tag, digest in sorted(view.tags.items()):
            self._tags_of.setdefault(digest, []).append(tag)
        self._referrers: dict[Digest, list[Digest]] = {}
        for node in view.nodes.values():
            if node.subject is not None:
                self._referrers.setdefault(node.subject, []).append(node.digest)
        self._attached: dict[str, set[Digest]] = {tag: set() for tag in view.tags if is_attached_tag(tag)}
        """Tags of cosign and of lists of referrers, and the digests to which each may belong."""
        self._about: dict[Digest, list[str]] = {}
        known = {*view.nodes, *view.tags.values(), *self._referrers, *keep.digests}
        known.update(child for node in view.nodes.values() for child in node.children)
        for tag in self._attached:
            if (named := named_subject(tag)) is not None:
                known.add(named)
        for digest in known:
            for tag in _tags_about(digest):
                if tag in self._attached:
                    self._attached[tag].add(digest)
                    self._about.setdefault(digest, []).append(tag)

    def plan(self) -> RepositoryPrune:
        roots = {digest for tag, digest in self._view.tags.items() if self._reasons[tag] is not None}
        roots |= self._keep.digests
        for tag, subjects in self._attached.items():
            if not subjects or (self._is_orphan(tag) and not self._may_go_alone(tag)):  # it may belong to any manifest
                roots.add(self._view.tags[tag])
        while True:
            kept = self._closure(roots, self._all_ways, lambda _digest: True)
            doomed = self._doomed(kept)
            # What is not known to be deletable stays; and so does what it leads to.
            left = {*self._view.nodes, *self._view.tags.values()} - doomed - kept
            if not left:
                break
            roots = kept | left
        return self._result(kept, doomed)

    def _doomed(self, kept: set[Digest]) -> set[Digest]:
        begin = {
            digest
            for tag, digest in self._view.tags.items()
            if self._reasons[tag] is None and (tag not in self._attached or self._may_go_alone(tag))
        }
        begin |= self._view.untagged & self._view.nodes.keys()
        return self._closure(begin, self._ways_down, lambda digest: digest not in kept and self._may_go(digest))

    def _may_go(self, digest: Digest) -> bool:
        return digest in self._view.nodes and self._keep.may_go(digest)

    def _is_orphan(self, tag: str) -> bool:
        """Whether the digest to which the tag belongs is known, and its manifest does not exist. One that is cut off
        names none.
        """
        named = named_subject(tag)
        return named is not None and named not in self._view.nodes

    def _may_go_alone(self, tag: str) -> bool:
        """Whether such an orphan may be deleted: by `orphans`, or since its subject was deleted before."""
        return self._is_orphan(tag) and (self._keep.orphans or self._view.tags[tag] in self._view.untagged)

    def _closure(
        self, begin: set[Digest], ways: Callable[[Digest], Iterator[Digest]], enters: Callable[[Digest], bool]
    ) -> set[Digest]:
        found = {digest for digest in begin if enters(digest)}
        waiting = list(found)
        while waiting:
            for digest in ways(waiting.pop()):
                if digest not in found and enters(digest):
                    found.add(digest)
                    waiting.append(digest)
        return found

    def _ways_down(self, digest: Digest) -> Iterator[Digest]:
        """To what has no reason to exist without it."""
        if (node := self._view.nodes.get(digest)) is not None:
            yield from node.children
        yield from self._referrers.get(digest, ())
        for tag in self._about.get(digest, ()):
            yield self._view.tags[tag]

    def _all_ways(self, digest: Digest) -> Iterator[Digest]:
        yield from self._ways_down(digest)
        if (node := self._view.nodes.get(digest)) is not None and node.subject is not None:
            yield node.subject
        for tag in self._tags_of.get(digest, ()):
            yield from self._attached.get(tag, ())

    def _result(self, kept: set[Digest], doomed: set[Digest]) -> RepositoryPrune:
        view = self._view
        firm = {digest for tag, digest in view.tags.items() if self._reasons[tag] is not None}
        firm = self._closure(firm, self._children, lambda _digest: True)
        alone: list[GoingTag] = []
        left: list[tuple[str, Digest, str]] = []
        for tag, digest in sorted(view.tags.items()):
            reason = self._reasons[tag]
            if reason is not None:
                if reason:
                    left.append((tag, digest, reason))
            elif digest in doomed:
                continue
            elif digest in firm and tag not in self._attached:
                alone.append(GoingTag(tag, digest, self._staying_on(digest)))
            else:
                left.append((tag, digest, self._why_left(tag, digest, kept)))
        return RepositoryPrune(
            view.repository, len(view.tags), tuple(alone), tuple(self._in_order(doomed)), tuple(left)
        )

    def _staying_on(self, digest: Digest) -> tuple[str, ...]:
        """The tags on a manifest that stays, without those that are deleted alone."""
        tags = self._tags_of[digest]
        return tuple(tag for tag in tags if self._reasons[tag] is not None or tag in self._attached)

    def _children(self, digest: Digest) -> Iterator[Digest]:
        node = self._view.nodes.get(digest)
        return iter(node.children if node is not None else ())

    def _why_left(self, tag: str, digest: Digest, kept: set[Digest]) -> str:
        if not self._keep.may_go(digest):
            return "it is not in the plan"
        if tag in self._attached:
            about = sorted(self._attached[tag] & kept)
            return f"it belongs to {about[0]}, which stays" if about else "what it belongs to is not known"
        node = self._view.nodes.get(digest)
        if node is None:
            return "its manifest could not be read"
        if node.subject is not None and node.subject in kept:
            return f"it refers to {node.subject}, which stays"
        return "something that stays refers to it"

    def _in_order(self, doomed: set[Digest]) -> Iterator[GoingManifest]:
        """Those with tags first, with attached ones last among them; an index before its children."""
        order: list[Digest] = []
        seen: set[Digest] = set()
        for begin in sorted(doomed):
            if begin in seen:
                continue
            seen.add(begin)
            path = [(begin, self._children(begin))]
            while path:
                digest, children = path[-1]
                child = next((each for each in children if each in doomed and each not in seen), None)
                if child is None:
                    order.append(digest)
                    path.pop()
                else:
                    seen.add(child)
                    path.append((child, self._children(child)))
        order.reverse()
        order.sort(key=self._rank)  # which keeps the order of equals
        for digest in order:
            tags = tuple(self._tags_of.get(digest, ()))
            if not tags:
                why = "nothing has it but what goes"
            elif all(tag in self._attached for tag in tags):
                why = "what it belongs to goes, or is gone"
            else:
                why = "no rule selects it"
            yield GoingManifest(digest, tags, why)

    def _rank(self, digest: Digest) -> int:
        tags = self._tags_of.get(digest, ())
        if not tags:
            return 2
        return int(all(tag in self._attached for tag in tags))


def _tags_about(digest: Digest) -> list[str]:
    base = f"{digest.algorithm}-{digest.hex}"
    return [*(f"{base}{ending}" for ending in COSIGN_TYPES), fallback_tag(digest)]
