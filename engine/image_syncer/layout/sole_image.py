"""The image of a place that has one alone, for sources that do not say which: `oci:DIR`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.config import SOLE_IMAGE, TagSelection
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.oci import Digest, Repository
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.config import Configuration, Rule

__all__ = ["with_sole_images"]


def with_sole_images(configuration: Configuration, described: Mapping[str, Mapping[str, Any]]) -> Configuration:
    """The configuration with the name of that image, or its digest, where rules mean it. `described` is what each place
    says of itself. Raises ConfigurationError where there are several, or none.
    """
    problems: list[Problem] = []
    rules = []
    for rule in configuration.rules:
        if rule.tags.names == SOLE_IMAGE:
            told = described[rule.source.registry]
            if told["sole"] is None:
                problems.append(_problem(rule, told))
            else:
                rules.append(_resolved(rule, told["sole"]))
        else:
            rules.append(rule)
    if problems:
        raise ConfigurationError(problems)
    return replace(configuration, rules=tuple(rules))


def _resolved(rule: Rule, sole: Mapping[str, Any]) -> Rule:
    source = Repository(rule.source.registry, sole["repository"])
    if sole["tag"] is not None:
        return replace(rule, source=source, tags=TagSelection(names=(sole["tag"],)))
    digest = Digest(sole["digest"])
    return replace(rule, source=source, tags=TagSelection(digest=digest))


def _problem(rule: Rule, told: Mapping[str, Any]) -> Problem:
    place, names = rule.source.registry, told["names"]
    if not told["manifests"]:
        return Problem(place, None, None, "there is no image in it")
    what = f"there are {told['manifests']} images in it, and the source does not say which"
    if not names:
        return Problem(place, None, None, f"{what}; none has a name", f"write {place}@DIGEST, see its index.json")
    return Problem(place, None, None, f"{what}: {', '.join(names)}", f"write {place}:{names[0]}")
