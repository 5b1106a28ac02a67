"""What is to be examined: a registry by its host, or one of its repositories, perhaps with a tag or a digest."""

from __future__ import annotations

import re

from image_syncer.errors import ConfigurationError, Problem
from image_syncer.oci import InvalidReference, canonical_registry, is_place, parse_reference

__all__ = ["parse_subject"]

_HOST_ALONE = re.compile(r"(?:localhost|[^/@:]*\.[^/@:]*|\[[^/]*\])(?::[0-9]+)?|[^/@:]+:[0-9]{2,5}")
"""Without a slash: what has a dot before its colon, or a port after it, is a host, and everything else an image of
Docker Hub, as it is everywhere.
"""


def parse_subject(text: str, *, write: bool = False) -> tuple[str, str | None, str | None]:
    """Registry, the name of the repository (None for the registry as a whole), and tag or digest (None: none named).

    "registry.example" and "registry:5000" are hosts, "nginx" and "nginx:1.27" images of Docker Hub; a slash at the end
    makes a host of any word. Raises ConfigurationError.
    """
    given = text.strip()
    if is_place(given):
        what, mend = f"{given} is no registry, and has no network to look at", "copy says what is wrong with it"
        raise ConfigurationError([Problem("command line", None, "HOST[/REPO]", what, mend)])
    try:
        if given.endswith("/") or _HOST_ALONE.fullmatch(given):
            registry, name, target = canonical_registry(given.rstrip("/")), None, None
        else:
            reference = parse_reference(given)
            registry, name = reference.repository.registry, reference.repository.name
            target = reference.digest or reference.tag
    except InvalidReference as error:
        problem = Problem("command line", None, "HOST[/REPO]", str(error), None)
        raise ConfigurationError([problem]) from None
    if write and name is None:
        what = f"--write needs a repository to write to, and {text!r} is a registry"
        raise ConfigurationError([Problem("command line", None, "HOST[/REPO]", what, f"write {registry}/REPO")])
    return registry, name, target
