"""What goes of a repository, whatever is in it: made-up graphs of tags, indexes, referrers and tags of cosign's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from image_syncer.oci import Digest, Repository, digest_of
from image_syncer.registry.referrers import cosign_tags, fallback_tag
from image_syncer.scheduling.pruning import Keep, ManifestNode, RepositoryView, named_subject, plan_prune

if TYPE_CHECKING:
    from image_syncer.scheduling.pruning import RepositoryPrune

REPOSITORY = Repository("registry.example", "team/app")
MOST = 9


def digest(number: int) -> Digest:
    # Of every other algorithm: tags of referrers are cut off for SHA-512.
    return digest_of(str(number).encode(), "sha512" if number % 4 == 3 else "sha256")


@dataclass(frozen=True)
class Graph:
    """Manifests by number; each names only those with lower ones, as hashes do. Some are named and not there."""

    view: RepositoryView
    selected: frozenset[str]
    pinned: frozenset[Digest]
    only: frozenset[Digest] | None
    orphans: bool

    @property
    def keep(self) -> Keep:
        return Keep(lambda tag, _digest: "" if tag in self.selected else None, self.pinned, self.only, self.orphans)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(1, MOST))
    lower = [st.integers(0, number - 1) if number else st.nothing() for number in range(count)]
    nodes = {}
    for number in range(count):
        children = draw(st.lists(lower[number], max_size=2, unique=True)) if number else []
        subject = draw(st.none() | lower[number]) if number else None
        if draw(st.integers(0, 9)):
            nodes[digest(number)] = ManifestNode(
                digest(number), tuple(map(digest, children)), None if subject is None else digest(subject)
            )
    there = st.sampled_from(sorted(nodes)) if nodes else st.nothing()
    tags = {}
    if nodes:
        tags = draw(st.dictionaries(st.sampled_from([f"v{number}" for number in range(5)]), there, max_size=5))
        about = draw(st.lists(st.integers(0, count - 1), max_size=5, unique=True))
        for number in about:
            names = [fallback_tag(digest(number)), *cosign_tags(digest(number))]
            tags[draw(st.sampled_from(names))] = draw(there)
    selected = frozenset(draw(st.sets(st.sampled_from(sorted(tags))))) if tags else frozenset()
    untagged = frozenset(draw(st.sets(there, max_size=2))) if nodes else frozenset()
    pinned = frozenset(draw(st.sets(there, max_size=1))) if nodes else frozenset()
    only = draw(st.none() | st.frozensets(there, max_size=4)) if nodes else None
    return Graph(RepositoryView(REPOSITORY, tags, nodes, untagged), selected, pinned, only, draw(st.booleans()))


def reached_by_what_stays(graph: Graph, plan: RepositoryPrune) -> set[Digest]:
    """Written on its own, and slowly: by every way from one manifest to another, until nothing is added."""
    view = graph.view
    gone = {tag for tag, _ in plan.going_tags}
    kept = {target for tag, target in view.tags.items() if tag not in gone} | set(graph.pinned)
    while True:
        more = set()
        for node in view.nodes.values():
            if node.digest in kept:
                more.update(node.children)
                more.update([node.subject] if node.subject else [])
            if node.subject in kept:
                more.add(node.digest)
        for number in range(MOST):
            for tag in (fallback_tag(digest(number)), *cosign_tags(digest(number))):
                if tag in view.tags and tag not in gone:
                    more.add(digest(number))
                if tag in view.tags and digest(number) in kept:
                    more.add(view.tags[tag])
        if more <= kept:
            return kept
        kept |= more


@settings(max_examples=200)
@given(graphs())
def test_nothing_goes_that_something_which_stays_reaches(graph: Graph) -> None:
    plan = plan_prune(graph.view, graph.keep)
    assert not plan.going_digests & reached_by_what_stays(graph, plan)


@settings(max_examples=50)
@given(graphs())
def test_no_selected_tag_goes_neither_alone_nor_with_its_manifest(graph: Graph) -> None:
    plan = plan_prune(graph.view, graph.keep)
    assert not {tag for tag, _ in plan.going_tags} & graph.selected
    for going in plan.manifests:
        # A deleted digest takes all its tags along: so all of them have to be among what goes.
        assert set(going.tags) == {tag for tag, target in graph.view.tags.items() if target == going.digest}


@settings(max_examples=50)
@given(graphs())
def test_a_tag_goes_alone_only_where_its_manifest_keeps_a_name(graph: Graph) -> None:
    plan = plan_prune(graph.view, graph.keep)
    named = {target for tag, target in graph.view.tags.items() if tag in graph.selected}
    while True:
        more = {child for each in named if each in graph.view.nodes for child in graph.view.nodes[each].children}
        if more <= named:
            break
        named |= more
    for each in plan.tags:
        assert graph.view.tags[each.tag] == each.digest
        assert each.digest in named
        assert each.digest not in plan.going_digests


@settings(max_examples=50)
@given(graphs())
def test_only_what_may_go_goes(graph: Graph) -> None:
    plan = plan_prune(graph.view, graph.keep)
    assert graph.only is None or plan.going_digests <= graph.only
    assert plan.going_digests <= graph.view.nodes.keys()


@settings(max_examples=50)
@given(graphs())
def test_every_tag_is_selected_or_goes_or_is_told(graph: Graph) -> None:
    plan = plan_prune(graph.view, graph.keep)
    gone, left = {tag for tag, _ in plan.going_tags}, {tag for tag, _, _ in plan.left}
    assert not gone & left
    assert gone | left | graph.selected == set(graph.view.tags)
    assert all(reason for _, _, reason in plan.left)


@settings(max_examples=50)
@given(graphs())
def test_manifests_without_a_tag_go_last_and_an_index_before_what_is_in_it(graph: Graph) -> None:
    order = plan_prune(graph.view, graph.keep).manifests
    assert len({each.digest for each in order}) == len(order)
    tagged = [bool(each.tags) for each in order]
    assert tagged == sorted(tagged, reverse=True)
    untagged = [each.digest for each in order if not each.tags]
    for at, each in enumerate(untagged):
        assert not set(graph.view.nodes[each].children) & set(untagged[:at])


@settings(max_examples=50)
@given(graphs())
def test_when_all_of_it_is_gone_nothing_more_goes(graph: Graph) -> None:
    plan = plan_prune(graph.view, graph.keep)
    gone = {tag for tag, _ in plan.going_tags}
    rest = RepositoryView(
        REPOSITORY,
        {tag: target for tag, target in graph.view.tags.items() if tag not in gone},
        {target: node for target, node in graph.view.nodes.items() if target not in plan.going_digests},
        graph.view.untagged,
    )
    again = plan_prune(rest, graph.keep)
    assert not again.tags
    # What was about a manifest that is gone by now has nothing left to belong to.
    assert all(each.why != "no rule selects it" for each in again.manifests)


@settings(max_examples=50)
@given(graphs())
def test_where_every_tag_is_selected_nothing_goes(graph: Graph) -> None:
    view = RepositoryView(REPOSITORY, graph.view.tags, graph.view.nodes)
    assert plan_prune(view, Keep(lambda _tag, _digest: "")).is_empty


@settings(max_examples=50)
@given(graphs())
def test_what_is_about_a_manifest_that_is_not_there_stays_unless_it_is_asked_for(graph: Graph) -> None:
    plan = plan_prune(graph.view, Keep(graph.keep.why))
    for tag, target in plan.going_tags:
        named = named_subject(tag)
        assert named is None or named in graph.view.nodes or target in graph.view.untagged


def test_a_signature_that_stays_for_another_reason_keeps_what_it_is_about() -> None:
    """It has two tags: one that is selected, and cosign's, which would be about nothing."""
    image, signature = ManifestNode(digest(0)), ManifestNode(digest(1))
    tags = {"old": digest(0), "v1": digest(1), next(iter(cosign_tags(digest(0)))): digest(1)}
    view = RepositoryView(REPOSITORY, tags, {each.digest: each for each in (image, signature)})
    assert plan_prune(view, Keep(lambda tag, _digest: "" if tag == "v1" else None)).is_empty
