"""Which referrers are meant: the words of the command line, the key of a rule, and what they choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.config import (
    NO_REFERRERS,
    Configuration,
    ReferrerSelection,
    RegistryBook,
    Settings,
    parse_referrer_selection,
)
from image_syncer.config.loader import load_configuration
from image_syncer.config.settings import check_form
from image_syncer.errors import ConfigurationError
from image_syncer.oci import ManifestFormat

if TYPE_CHECKING:
    from pathlib import Path

MAPPING = (
    "{types: [sbom, application/x.*], exclude: attestation, annotations: a.b=c*, require: [signature], depth: 2, "
    "cosign: false}"
)
EVERYTHING = "sbom,application/x.*,exclude=attestation,annotation=a.b=c*,require=signature,depth=2,cosign=false"


@pytest.mark.parametrize("text", ["none", "all", "depth=1", "signature,sbom", EVERYTHING])
def test_words_mean_what_they_are_written_from(text: str) -> None:
    selection = parse_referrer_selection(text)
    assert str(selection) == text
    assert parse_referrer_selection(str(selection)) == selection


def test_words() -> None:
    assert parse_referrer_selection("none") == NO_REFERRERS
    assert NO_REFERRERS.is_empty
    assert parse_referrer_selection("all") == parse_referrer_selection("all,depth=3,cosign=true") == ReferrerSelection()
    assert parse_referrer_selection(EVERYTHING) == ReferrerSelection(
        2, ("sbom", "application/x.*"), ("attestation",), (("a.b", "c*"),), ("signature",), cosign=False
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "signatures",
        "none,sbom",
        "depth=0",
        "depth=17",
        "depth=x",
        "cosign=no",
        "require=",
        "annotation=a",
        "x=y",
        "a/b,",
    ],
)
def test_mistakes(text: str) -> None:
    with pytest.raises(ValueError, match="“"):
        parse_referrer_selection(text)


@pytest.mark.parametrize(
    ("words", "artifact_type", "annotations", "taken"),
    [
        ("all", None, {}, True),
        ("sbom", None, {}, False),
        ("sbom", "application/spdx+json", {}, True),
        ("sbom", "application/vnd.cyclonedx+json", {}, True),
        ("signature", "application/vnd.cncf.notary.signature", {}, True),
        ("signature", "application/vnd.dev.cosign.artifact.sig.v1+json", {}, True),
        ("signature", "application/vnd.dev.sigstore.bundle.v0.3+json", {}, True),
        ("attestation", "application/vnd.dev.sigstore.bundle.v0.3+json", {}, True),
        ("attestation", "application/vnd.cncf.notary.signature", {}, False),
        ("application/*", "Application/X", {}, True),
        ("application/x", "application/xy", {}, False),
        ("exclude=application/x", "application/x", {}, False),
        ("sbom,exclude=text/*", "text/spdx", {}, False),
        ("annotation=a=b*", "application/x", {"a": "bc"}, True),
        ("annotation=a=b*", "application/x", {"a": "c"}, False),
        ("annotation=a=b*", "application/x", {}, False),
    ],
)
def test_what_is_taken(words: str, artifact_type: str | None, annotations: dict[str, str], *, taken: bool) -> None:
    assert parse_referrer_selection(words).takes(artifact_type, annotations) is taken


def test_one_type_can_be_asked_for() -> None:
    def only(words: str) -> str | None:
        return parse_referrer_selection(words).only_type

    assert only("application/x") == only("application/x,depth=1") == "application/x"
    assert [only(words) for words in ("all", "sbom", "a/*", "a/b,a/c", "a/b,require=sbom")] == [None] * 5


def test_what_is_missing() -> None:
    selection = parse_referrer_selection("require=signature,require=sbom")
    assert selection.missing([]) == ["signature", "sbom"]
    assert selection.missing(["application/spdx+json"]) == ["signature"]
    assert selection.missing(["text/spdx", "application/vnd.cncf.notary.signature"]) == []


def load(tmp_path: Path, referrers: str, source: str = "registry.example/app:v1") -> Configuration:
    path = tmp_path / "images.yaml"
    target = "other.example/**" if "*" in source else "other.example/app"
    path.write_text(
        f"version: 2\nrules:\n- source: {source}\n  destination: {target}\n  referrers: {referrers}\n", encoding="utf-8"
    )
    return load_configuration(config=str(path), environ={})


@pytest.mark.parametrize(
    "written",
    [
        EVERYTHING,
        MAPPING,
    ],
)
def test_a_rule_says_it_in_words_or_in_keys(tmp_path: Path, written: str) -> None:
    [rule] = load(tmp_path, written).rules
    assert rule.referrers == parse_referrer_selection(EVERYTHING)


def test_a_rule_for_a_catalog_hands_it_on(tmp_path: Path) -> None:
    [catalog] = load(tmp_path, "all", "registry.example/**").catalogs
    rule = catalog.rule_for("team/app")
    assert rule is not None
    assert rule.referrers == ReferrerSelection()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("some", "images.yaml:5 [rules[0] › referrers]: “some” is no artifact type"),
        ("{depth: 0}", "images.yaml:5 [rules[0] › referrers › depth]: the depth “0”"),
        ("{types: [sbom, x]}", "images.yaml:5 [rules[0] › referrers › types]: “x” is no artifact type"),
        ("{annotations: x}", "images.yaml:5 [rules[0] › referrers › annotations]: “x” is no annotation"),
        ("{type: sbom}", "images.yaml:5 [rules[0] › referrers › type]: unknown key"),
        ("[all]", "images.yaml:5 [rules[0] › referrers]: "),
    ],
)
def test_mistakes_of_a_rule_name_their_place(tmp_path: Path, written: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, written)
    assert said in str(caught.value)


def test_nothing_is_converted_and_carried_along(tmp_path: Path) -> None:
    converting = Settings(manifest_format=ManifestFormat.OCI)
    check_form(Configuration((), RegistryBook([])), converting)
    check_form(load(tmp_path, "none"), converting)
    check_form(load(tmp_path, "all"), Settings())
    for source in ("registry.example/app", "registry.example/**"):
        with pytest.raises(ConfigurationError, match="--format oci gives images other digests"):
            check_form(load(tmp_path, "all", source), converting)
