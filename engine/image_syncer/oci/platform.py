"""Platforms of images (OCI image specification 1.1, "Image Index", `platform`), and filters of them.

Aliases are those of containerd's `platforms` package, which decides what a node pulls.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from image_syncer.patterns import lazy_pattern
from image_syncer.redaction import quoted
from image_syncer.values import Value

_OS_PART = lazy_pattern(r"(?P<os>[A-Za-z0-9_-]+)(?:\((?P<options>[A-Za-z0-9_.%~-]*(?:\+[A-Za-z0-9_.%~-]+)*)\))?")
_PART = lazy_pattern(r"[A-Za-z0-9_.-]+")
_MOST_PARTS = 3
_OS_ALIASES = {"macos": "darwin"}
_ARCHITECTURE_ALIASES = {
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "i386": ("386", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_ARCHITECTURES = frozenset({"amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64"})
"""Names that users write first by mistake: no operating system has them."""
_VARIANT_ALIASES = {
    ("amd64", "v1"): "",
    ("arm64", "8"): "",
    ("arm64", "v8"): "",
    ("arm", ""): "v7",
    ("arm", "5"): "v5",
    ("arm", "6"): "v6",
    ("arm", "7"): "v7",
    ("arm", "8"): "v8",
}


class InvalidPlatform(ValueError):  # noqa: N818 - beside InvalidManifest and InvalidReference
    """A text that is no platform; the message is a sentence for people."""


class Platform(Value, frozen=True):
    """The platform of an image by its index or configuration; "" is unknown."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def normalized(self) -> Platform:
        """Return the platform in its canonical spelling: linux/aarch64/v8 becomes linux/arm64."""
        architecture, variant = _normalize_architecture(self.architecture, self.variant)
        features = tuple(sorted(set(self.os_features)))
        return Platform(_normalize_os(self.os), architecture, variant, self.os_version, features)

    def __str__(self) -> str:
        options = "+".join(map(_escaped, (self.os_version, *self.os_features)))
        os = _escaped(self.os or "unknown") + (f"({options})" if options else "")
        variant = f"/{_escaped(self.variant)}" if self.variant else ""
        return f"{os}/{_escaped(self.architecture or 'unknown')}{variant}"


def parse_platform(text: str) -> Platform:
    """Parse "linux/amd64", "linux/arm/v7" or "windows(10.0.17763)/amd64", and normalize it. Raises InvalidPlatform.

    An operating system or an architecture alone is refused: this machine's is not that of the image.
    """
    os, *rest = text.strip().split("/")
    match = _OS_PART.fullmatch(os)
    if not match or not 1 <= len(rest) < _MOST_PARTS or not all(map(_PART.fullmatch, rest)):
        raise InvalidPlatform(
            f"{quoted(text)} is not a platform: write os/architecture or os/architecture/variant, "
            "such as linux/amd64 or linux/arm/v7"
        )
    if _normalize_architecture(os, "")[0] in _ARCHITECTURES:
        raise InvalidPlatform(f"{quoted(text)} begins with an architecture: write os/architecture, such as linux/{os}")
    version, *features = map(unquote, (match["options"] or "").split("+"))
    architecture, variant = rest[0], "".join(rest[1:])
    return Platform(match["os"], architecture, variant, version, tuple(features)).normalized()


class PlatformFilter(Value, frozen=True):
    """A filter of platforms, of which every given condition must hold.

    `platforms` are whole platforms: equal in os, architecture and variant, with every wanted os feature, and with the
    os version or a release of it ("10.0.17763" matches "10.0.17763.5696"). `os_names` are "os" or "os:version",
    `architectures` are "architecture" (any variant), "architecture:variant" or "architecture/variant"; they match an
    image with an unknown os or architecture.
    """

    platforms: tuple[Platform, ...] = ()
    os_names: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether every platform matches."""
        return not (self.platforms or self.os_names or self.architectures)

    def __str__(self) -> str:
        names = [str(platform) for platform in self.platforms]
        names += ["os " + "|".join(self.os_names)] if self.os_names else []
        names += ["architecture " + "|".join(self.architectures)] if self.architectures else []
        return ", ".join(names)

    def matches(self, platform: Platform) -> bool:
        """Return whether `platform` matches."""
        given = platform.normalized()
        return (
            (not self.platforms or any(_fits(pattern.normalized(), given) for pattern in self.platforms))
            and (not self.os_names or not given.os or any(_fits_os(name, given) for name in self.os_names))
            and (
                not self.architectures
                or not given.architecture
                or any(_fits_architecture(name, given) for name in self.architectures)
            )
        )


def _fits(pattern: Platform, given: Platform) -> bool:
    return (
        (pattern.os, pattern.architecture, pattern.variant) == (given.os, given.architecture, given.variant)
        and _fits_version(pattern.os_version, given.os_version)
        and set(pattern.os_features) <= set(given.os_features)
    )


def _fits_version(wanted: str, given: str) -> bool:
    return not wanted or f"{given}.".startswith(f"{wanted}.")


def _fits_os(name: str, given: Platform) -> bool:
    os, _, version = name.strip().partition(":")
    return _normalize_os(os) == given.os and _fits_version(version, given.os_version)


def _fits_architecture(name: str, given: Platform) -> bool:
    spelled, _, wanted = name.strip().lower().replace("/", ":").partition(":")
    architecture, variant = _normalize_architecture(spelled, wanted)
    names_variant = bool(wanted or _ARCHITECTURE_ALIASES.get(spelled, ("", ""))[1])
    return architecture == given.architecture and (not names_variant or variant == given.variant)


def _normalize_os(os: str) -> str:
    return _OS_ALIASES.get(os.lower(), os.lower())


def _normalize_architecture(architecture: str, variant: str) -> tuple[str, str]:
    architecture, variant = architecture.lower(), variant.lower()
    architecture, implied = _ARCHITECTURE_ALIASES.get(architecture, (architecture, None))
    if implied is not None:
        variant = implied
    return architecture, _VARIANT_ALIASES.get((architecture, variant), variant)


def _escaped(option: str) -> str:
    return quote(option, safe="")
