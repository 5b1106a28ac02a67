"""Sources, destinations, and the conditions between them."""

from __future__ import annotations

import pytest

from image_syncer.config import Destination, TagSelection
from image_syncer.config.findings import RuleError
from image_syncer.config.rules import check_destination, check_globs, parse_destination, parse_source
from image_syncer.oci import Digest, Repository

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
NGINX = Repository("docker.io", "library/nginx")


@pytest.mark.parametrize(
    ("text", "repository", "selection"),
    [
        ("nginx", NGINX, TagSelection()),
        ("nginx:1.27", NGINX, TagSelection(names=("1.27",))),
        ("nginx:1.26,1.27", NGINX, TagSelection(names=("1.26", "1.27"))),
        (f"nginx@{DIGEST}", NGINX, TagSelection(digest=Digest(DIGEST))),
        (f"nginx:1.27@{DIGEST}", NGINX, TagSelection(digest=Digest(DIGEST))),
        ("nginx:/^1,2:3$/", NGINX, TagSelection(regex="^1,2:3$")),
        ("nginx:/a+/", NGINX, TagSelection(regex="a+")),
        (r"[::1]:5000/a/b:/\d/", Repository("[::1]:5000", "a/b"), TagSelection(regex=r"\d")),
        ("127.0.0.1:300/x:v1,v2", Repository("127.0.0.1:300", "x"), TagSelection(names=("v1", "v2"))),
    ],
)
def test_sources(text, repository, selection):
    assert parse_source(text) == (repository, selection)


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        ("nginx", Destination(NGINX)),
        ("nginx:a,b,a", Destination(NGINX, tags=("a", "b", "a"))),
        (f"nginx:a@{DIGEST}", Destination(NGINX, digest=Digest(DIGEST))),
    ],
)
def test_destinations(text, destination):
    assert parse_destination(text) == destination


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "the source is empty"),
        ("nginx:/a", "does not end with a slash"),
        ("nginx:/a/,/b/", "several regular expressions"),
        ("nginx:/a/b/", "with a slash"),
        ("nginx:/(/", "cannot be used"),
        ("nginx:v1:/a/", "and a tag or digest before it"),
        ("https://quay.io/a/b", "is a URL"),
        ("nginx:1, 2", "holds blanks"),
        ("nginx:1,,2", "“” is not a tag"),
        ("nginx:1,-2", "“-2” is not a tag"),
        ("nginx,1", "where there is no tag"),
        (f"nginx@{DIGEST},{OTHER}", "more than one digest"),
        ("nginx@sha256:abcdef0", "no usable digest"),
        ("nginx@latest", "no digest after it"),
        ("Quay.io/Upper/x", "does not name a repository"),
    ],
)
def test_bad_sources(text, what):
    with pytest.raises(RuleError) as caught:
        parse_source(text)
    assert what in caught.value.what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "the destination is empty"),
        ("nginx:/a/", "cannot have a regular expression"),
        ("http://r.io/x", "is a URL"),
        ("nginx:", "no usable tag"),
    ],
)
def test_bad_destinations(text, what):
    with pytest.raises(RuleError) as caught:
        parse_destination(text)
    assert what in caught.value.what


@pytest.mark.parametrize("text", ["me:hunter2@quay.io/a/b", "me:hun/ter2@quay.io/a", "me:hunter2@h:5000"])
def test_a_password_in_a_name_is_refused_and_not_shown(text):
    for parse in (parse_source, parse_destination):
        with pytest.raises(RuleError) as caught:
            parse(text)
        assert "ter2" not in f"{caught.value.what} {caught.value.mend}"


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("a", "x"),
        ("a:/r/", "x"),
        ("a:1", "x:2"),
        ("a:1,2", "x:3,4"),
        ("a:1,2", "x"),
        (f"a@{DIGEST}", "x"),
        (f"a@{DIGEST}", f"x@{DIGEST}"),
        (f"a@{DIGEST}", "x:v1"),
    ],
)
def test_what_fits(source, destination):
    check_destination(parse_source(source)[1], parse_destination(destination))


@pytest.mark.parametrize(
    ("source", "destination", "what"),
    [
        ("a:1,2", "x:1", "the source has 2 tags, the destination 1 tag"),
        ("a:1", "x:1,2", "the source has 1 tag, the destination 2 tags"),
        ("a", "x:1", "how many tags the source has is not known"),
        ("a:/r/", "x:1", "how many tags the source has is not known"),
        (f"a@{DIGEST}", "x:1,2", "the source has one digest, the destination 2 tags"),
        (f"a@{DIGEST}", f"x@{OTHER}", "the digests differ"),
        ("a:1", f"x@{DIGEST}", "the destination has a digest, and the source has none"),
        ("a", f"x@{DIGEST}", "the destination has a digest, and the source has none"),
    ],
)
def test_every_condition_has_its_own_error(source, destination, what):
    with pytest.raises(RuleError) as caught:
        check_destination(parse_source(source)[1], parse_destination(destination))
    assert what in caught.value.what
    assert caught.value.mend


def test_exact_includes_count_as_names():
    check_destination(TagSelection(include=("1", "2")), parse_destination("x:a,b"))
    with pytest.raises(RuleError):
        check_destination(TagSelection(include=("1", "2")), parse_destination("x:a"))


def test_globs():
    check_globs(("1.0", "1.*", "v?", "[0-9].[!5]*"))
    for glob in ("", "a,b", "a:b", "[abc", "a/*", "-x", "1 *"):
        with pytest.raises(RuleError):
            check_globs((glob,))
