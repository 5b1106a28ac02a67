"""Referrers: which of the signatures, SBOMs and attestations that belong to an image are carried along with it."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from image_syncer.errors import ConfigurationError
from image_syncer.oci import ManifestFormat
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from image_syncer.config.model import Configuration
    from image_syncer.config.settings import Settings

__all__ = [
    "ARTIFACT_WORDS",
    "DEFAULT_DEPTH",
    "MAX_DEPTH",
    "NO_REFERRERS",
    "ReferrerSelection",
    "check_annotation",
    "check_artifact",
    "check_depth",
    "check_form",
    "is_of",
    "parse_referrer_selection",
]

DEFAULT_DEPTH = 3
"""Real ones have two: the signature of an SBOM of an image."""
MAX_DEPTH = 16
"""A bound against registries whose referrers have referrers without end."""

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

_TYPE = re.compile(r"[\w*?\[\]!.+-]+/[\w*?\[\]!.+-]+", re.ASCII)
_ANNOTATION = re.compile(r"([^=,\s]+)=([^,]*)")


class ReferrerSelection(Value, frozen=True):
    """Referrers are followed for `depth` steps: those of the image, those of these, and so on; 0: none of them.

    One belongs where its artifact type is among `types` (none: every type) and not among `exclude`, and every one of
    `annotations` (names and patterns) fits. Types are words of `ARTIFACT_WORDS`, artifact types, or patterns with `*`.
    Of each of `require`, the image has to have one. `cosign`: tags such as `sha256-….sig` count too.
    """

    depth: int = DEFAULT_DEPTH
    types: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    require: tuple[str, ...] = ()
    cosign: bool = True

    def takes(self, artifact_type: str | None, annotations: Mapping[str, str]) -> bool:
        """Whether a referrer like this is carried along."""
        name = artifact_type or ""
        return (
            (not self.types or is_of(name, self.types))
            and not is_of(name, self.exclude)
            and all(fnmatchcase(annotations.get(key, ""), pattern) for key, pattern in self.annotations)
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is carried along."""
        return self.depth == 0

    def missing(self, artifact_types: Iterable[str]) -> list[str]:
        """What is required, and is not among `artifact_types`."""
        there = list(artifact_types)
        return [name for name in self.require if not any(is_of(each, (name,)) for each in there)]

    @property
    def only_type(self) -> str | None:
        """The one artifact type that matters, where there is just one: registries can be asked for it alone."""
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
    """Whether an artifact type is among `names`: words, types and patterns."""
    return any(
        fnmatchcase(artifact_type.lower(), pattern.lower())
        for name in names
        for pattern in ARTIFACT_WORDS.get(name, (name,))
    )


def check_form(configuration: Configuration, settings: Settings) -> None:
    """Raises ConfigurationError where manifests are to be converted, and to bring along what refers to them."""
    wanted = [settings.referrers, *(rule.referrers for rule in configuration.rules)]
    wanted += (catalog.referrers for catalog in configuration.catalogs)
    if settings.manifest_format is ManifestFormat.KEEP or all(each is None or each.is_empty for each in wanted):
        return
    raise ConfigurationError(
        f"--format {settings.manifest_format} gives images other digests, and what refers to them names the old ones",
        hint="Leave out --format, or --referrers and the `referrers` of rules.",
    )


def check_artifact(text: str) -> str:
    """`text` itself, where it is a word, an artifact type or a pattern of them. Raises ValueError."""
    if text not in ARTIFACT_WORDS and not _TYPE.fullmatch(text):
        raise ValueError(f"“{text}” is no artifact type: write signature, sbom, attestation, or such as application/*")
    return text


def check_annotation(text: str) -> tuple[str, str]:
    """Name and pattern of `name=pattern`. Raises ValueError."""
    match = _ANNOTATION.fullmatch(text)
    if match is None:
        raise ValueError(f"“{text}” is no annotation with its value: write org.example.stage=release, or =* for any")
    return match[1], match[2]


NO_REFERRERS = ReferrerSelection(depth=0)


def parse_referrer_selection(text: str) -> ReferrerSelection:
    """What `--referrers` says: `none`, or `all`, or which of them, with commas: `sbom,exclude=application/x,depth=2,
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
    """A depth from 1 to `MAX_DEPTH`. Raises ValueError."""
    if text not in {str(depth) for depth in range(1, MAX_DEPTH + 1)}:
        raise ValueError(f"the depth “{text}” is no whole number from 1 to {MAX_DEPTH}")
    return int(text)
