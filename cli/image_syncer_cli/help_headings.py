"""Under which headings `--help` and the man page show verbs and options.

A table, and not a word at each option: the order and the headings are those of one page, whichever module an option
comes from. What is in no table stands under the first heading of its verb, and among the last verbs.
"""

from __future__ import annotations

__all__ = ["FIRST_HEADING", "LAST_VERBS", "OPTION_HEADINGS", "VERB_HEADINGS", "heading_of_option", "heading_of_verb"]

FIRST_HEADING = "Options"
"""Where the options stand that only this verb has, or that it cannot do without."""
LAST_VERBS = "More"

VERB_HEADINGS = {
    "Copying": ("sync", "copy", "retry", "export", "import"),
    "Keeping in step": ("watch", "diff", "verify", "prune"),
    "Planning": ("plan", "estimate", "bench"),
    "Looking": ("status", "top", "report"),
    "Registries": ("doctor", "login", "logout", "registry"),
    "Setting up": ("demo", "config", "completion"),
}
"""Verbs by what they are for, most needed first."""

OPTION_HEADINGS = {
    "Files and registries": ("--auth", "--images", "--config", "--plan", "--bench", "--insecure"),
    "What to copy": (
        *("--os", "--arch", "--missing-platform", "--all-tags", "--platform", "--force", "--on-conflict"),
        *("--referrers", "--verify", "--dry-run"),
    ),
    "Form": ("--foreign-layers", "--format"),
    "Patience": (
        *("--retries", "--retry-for", "--give-up-after", "--connect-timeout", "--stall-timeout", "--answer-timeout"),
        "--deadline",
    ),
    "Resources": (
        *("--rate", "--proc", "--workers", "--streams", "--window", "--small-blobs", "--memory", "--blobs-in-memory"),
        "--fan-out-lag",
    ),
    "Cluster": ("--cluster", "--cluster-ca", "--cluster-cert", "--cluster-key"),
    "Journal": ("--state", "--trust-state"),
    "Reports": (
        *("--report", "--report-junit", "--report-markdown", "--new-report"),
        *("--output-success-images", "--output-images-format"),
        *("--notify", "--notify-file", "--notify-when"),
    ),
    "Pruning": (
        *("--prune", "--yes", "--prune-most", "--prune-keep", "--prune-backups", "--prune-orphans", "--prune-empty"),
        "--backup-tag",
    ),
    "Display and logs": (
        *("--quiet", "--no-progress", "--control", "--metrics", "--metrics-file", "--trace-endpoint"),
        *("--log", "--log-format", "--log-level", "--debug"),
        "--help",
    ),
}
"""Options by their long names. The order of a heading's options is that in which verbs have them."""

_HEADING_OF_OPTION = {name: heading for heading, names in OPTION_HEADINGS.items() for name in names}
_HEADING_OF_VERB = {name: heading for heading, names in VERB_HEADINGS.items() for name in names}


def heading_of_option(name: str) -> str:
    """The heading of an option, by its long name with the dashes."""
    return _HEADING_OF_OPTION.get(name, FIRST_HEADING)


def heading_of_verb(name: str) -> str:
    """The heading of a verb."""
    return _HEADING_OF_VERB.get(name, LAST_VERBS)
