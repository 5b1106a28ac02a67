"""Arguments: a rule from the command line, for `image-syncer copy SRC DST`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.findings import Findings
from image_syncer.config.images import read_platforms, read_source
from image_syncer.config.model import Rule
from image_syncer.config.place_rules import rule_from
from image_syncer.config.rules import RuleError, check_destination, parse_destination
from image_syncer.config.tag_selection import SOLE_IMAGE, TagSelection
from image_syncer.errors import ConfigurationError
from image_syncer.oci import is_place

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["rule_from_arguments"]

_DEFAULT_TAG = "latest"


def rule_from_arguments(
    source: str, destination: str, *, all_tags: bool = False, platforms: Sequence[str] = (), directory: str = "."
) -> Rule:
    """The rule of one copy. `source` is "repository", "repository:tag", "repository:tag,tag", "repository@digest" or
    "repository:/regular expression/", `destination` the same but for the expression.

    Unlike in files, a source without tag means `latest`, as for `docker pull`, and at a place that is no registry the
    one image that is there; `all_tags` asks for all of them. `platforms` are "os/architecture" or more. Paths of places
    are taken from `directory`. Raises ConfigurationError with every mistake.
    """
    findings = Findings("command line")
    wanted = read_platforms([(platform, None) for platform in platforms], "--platform", findings)
    parsed = read_source(source, None, "SRC", findings)
    selection = parsed[1] if parsed else TagSelection()
    if selection == TagSelection() and not all_tags:
        names_none = parsed is not None and is_place(parsed[0].registry) and not parsed[0].name
        selection = TagSelection(names=SOLE_IMAGE if names_none else (_DEFAULT_TAG,))
    elif selection != TagSelection() and all_tags:
        findings.error(None, "SRC", "--all-tags, and a source with a tag or digest", "leave one of them out")
    try:
        target = parse_destination(destination)
        if parsed and not findings.errors:
            check_destination(selection, target)
    except RuleError as error:
        findings.error(None, "DST", error.what, error.mend)
    if findings.errors or parsed is None:
        raise ConfigurationError(findings.errors)
    return rule_from(directory, Rule(parsed[0], selection, (target,), wanted, findings.file))
