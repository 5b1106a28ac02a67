"""Referrers: which signatures, SBOMs and attestations of an image are copied with it."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from image_syncer.config.document import ScalarNode
from image_syncer.patterns import lazy_pattern
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from image_syncer.config.fields import Fields


REFERRER_KEYS = ("depth", "types", "exclude", "annotations", "require", "cosign")
"""Keys of `referrers` in a rule."""

DEFAULT_DEPTH = 3
"""Real ones have two: the signature of an SBOM of an image."""
MAX_DEPTH = 16
"""Bounds the requests to a registry whose referrers have endless referrers."""

ARTIFACT_WORDS: Mapping[str, tuple[str, ...]] = {
    "signature": (
        "application/vnd.dev.cosign.artifact.sig.*",
        "application/vnd.dev.cosign.simplesigning.*",
        "application/vnd.cncf.notary.signature",
        "application/vnd.dev.sigstore.bundle*",
    ),
    "sbom": (
        "application/vnd.dev.cosign.artifact.sbom.*",
        "application/spdx*",
        "text/spdx*",
        "application/vnd.cyclonedx*",
        "application/vnd.syft*",
    ),
    "attestation": (
        "application/vnd.dev.cosign.artifact.att.*",
        "application/vnd.in-toto*",
        "application/vnd.dsse.envelope*",
        "application/vnd.dev.sigstore.bundle*",
    ),
}
"""Words for the artifact types of cosign, Notary Project, sigstore, SPDX, CycloneDX, Syft and in-toto. A sigstore
bundle may be either a signature or an attestation, and counts as both."""

_TYPE = lazy_pattern(r"[\w*?\[\]!.+-]+/[\w*?\[\]!.+-]+", re.ASCII)
_ANNOTATION = lazy_pattern(r"([^=,\s]+)=([^,]*)")


class ReferrerSelection(Value, frozen=True):
    """Referrers are followed for `depth` steps: those of the image, then their referrers, and so on; 0: none.

    A referrer is copied where its artifact type is among `types` (none: every type) and not among `exclude`, and all
    `annotations` (names and patterns) match. Types are words of `ARTIFACT_WORDS`, artifact types, or patterns with `*`.
    The image must have one referrer of each type in `require`. `cosign`: tags such as `sha256-….sig` count too.
    """

    depth: int = DEFAULT_DEPTH
    types: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    require: tuple[str, ...] = ()
    cosign: bool = True

    def takes(self, artifact_type: str | None, annotations: Mapping[str, str]) -> bool:
        """Return whether such a referrer is copied."""
        name = artifact_type or ""
        return (
            (not self.types or is_of(name, self.types))
            and not is_of(name, self.exclude)
            and all(fnmatchcase(annotations.get(key, ""), pattern) for key, pattern in self.annotations)
        )

    @property
    def is_empty(self) -> bool:
        """Whether no referrer is copied."""
        return self.depth == 0

    def missing(self, artifact_types: Iterable[str]) -> list[str]:
        """Return the required types that are not among `artifact_types`."""
        there = list(artifact_types)
        return [name for name in self.require if not any(is_of(each, (name,)) for each in there)]

    @property
    def only_type(self) -> str | None:
        """The only artifact type of the selection, which a registry can filter by; None where there are several."""
        if len(self.types) != 1 or self.require or self.types[0] in ARTIFACT_WORDS:
            return None
        return None if re.search(r"[*?\[]", self.types[0]) else self.types[0]

    def __str__(self) -> str:
        if self.is_empty:
            return "none"
        items = [
            *self.types,
            *(f"exclude={name}" for name in self.exclude),
            *(f"annotation={key}={pattern}" for key, pattern in self.annotations),
            *(f"require={name}" for name in self.require),
            *([f"depth={self.depth}"] if self.depth != DEFAULT_DEPTH else []),
            *([] if self.cosign else ["cosign=false"]),
        ]
        return ",".join(items) or "all"


def is_of(artifact_type: str, names: Iterable[str]) -> bool:
    """Return whether an artifact type is among `names`: words, types and patterns."""
    return any(
        fnmatchcase(artifact_type.lower(), pattern.lower())
        for name in names
        for pattern in ARTIFACT_WORDS.get(name, (name,))
    )


def check_artifact(text: str) -> str:
    """Return `text` where it is a word, an artifact type or a pattern of them. Raises ValueError."""
    if text not in ARTIFACT_WORDS and not _TYPE.fullmatch(text):
        raise ValueError(f"“{text}” is no artifact type: write signature, sbom, attestation, or such as application/*")
    return text


def check_annotation(text: str) -> tuple[str, str]:
    """Return name and pattern of `name=pattern`. Raises ValueError."""
    match = _ANNOTATION.fullmatch(text)
    if match is None:
        raise ValueError(f"“{text}” is no annotation with its value: write org.example.stage=release, or =* for any")
    return match[1], match[2]


NO_REFERRERS = ReferrerSelection(depth=0)


def parse_referrer_selection(text: str) -> ReferrerSelection:
    """Parse `--referrers`: `none`, or `all`, or which of them, with commas: `sbom,exclude=application/x,depth=2,
    require=signature,annotation=name=pattern,cosign=false`. Raises ValueError.

    >>> str(parse_referrer_selection("signature,require=signature"))
    'signature,require=signature'
    """
    if text == "none":
        return NO_REFERRERS
    types: list[str] = []
    exclude: list[str] = []
    require: list[str] = []
    annotations: list[tuple[str, str]] = []
    depth, cosign = DEFAULT_DEPTH, True
    for item in text.split(","):
        name, equals, value = item.strip().partition("=")
        if name == "all" and not equals:
            continue
        if not equals:
            types.append(check_artifact(name))
        elif name == "exclude":
            exclude.append(check_artifact(value))
        elif name == "require":
            require.append(check_artifact(value))
        elif name == "annotation":
            annotations.append(check_annotation(value))
        elif name == "depth":
            depth = check_depth(value)
        elif name == "cosign" and value in ("true", "false"):
            cosign = value == "true"
        else:
            raise ValueError(f"“{item}” is none of TYPE, exclude=, require=, annotation=, depth= and cosign=false")
    return ReferrerSelection(depth, tuple(types), tuple(exclude), tuple(annotations), tuple(require), cosign)


def check_depth(text: str) -> int:
    """Return a depth from 1 to `MAX_DEPTH`. Raises ValueError."""
    if text not in {str(depth) for depth in range(1, MAX_DEPTH + 1)}:
        raise ValueError(f"the depth “{text}” is no whole number from 1 to {MAX_DEPTH}")
    return int(text)


def read_referrer_selection(rule: Fields) -> ReferrerSelection:
    """Return what the key `referrers` of a rule says: a text as that of `--referrers`, or a mapping."""
    node = rule.nodes["referrers"]
    if isinstance(node, ScalarNode):
        key, mend = rule.key("referrers"), "write all, none, or a mapping with types, require and others"
        found = rule.findings.attempt(parse_referrer_selection, node.text, node.line, key, mend)
        return ReferrerSelection() if found is None else found
    fields = rule.fields("referrers", REFERRER_KEYS)
    if fields is None:
        return ReferrerSelection()
    return ReferrerSelection(
        depth=fields.parsed("depth", check_depth) or DEFAULT_DEPTH,
        types=fields.parsed_items("types", check_artifact),
        exclude=fields.parsed_items("exclude", check_artifact),
        annotations=fields.parsed_items("annotations", check_annotation),
        require=fields.parsed_items("require", check_artifact),
        cosign=fields.flag("cosign") if "cosign" in fields else True,
    )
