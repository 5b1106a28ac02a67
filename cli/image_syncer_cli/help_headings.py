"""Under which headings `--help` and the man page show verbs and options.

A table, and not a word at each option: the order and the headings are those of one page, whichever module an option
comes from. What is in no table stands under the first heading of its verb, and among the last verbs.
"""

from __future__ import annotations

__all__ = ["FIRST_HEADING", "LAST_VERBS", "OPTION_HEADINGS", "VERBS", "heading_of_option", "heading_of_verb"]

FIRST_HEADING = "Options"
"""Where the options stand that only this verb has, or that it cannot do without."""
LAST_VERBS = "More"

VERBS = {
    "Copying": {
        "sync": "Copy what the files say (the verb may be left out).",
        "copy": "Copy one image or repository, without files.",
        "retry": "Run again what failed in an earlier run, from its report.",
        "export": "Copy what the files say into a bundle, for a registry behind a gap.",
        "import": "Copy a bundle into a registry; all of it is checked first.",
    },
    "Keeping in step": {
        "watch": "Sync again and again, at an interval or by a cron expression.",
        "diff": "Tell which tags differ, and write nothing.",
        "verify": "Compare sources and destinations, and write nothing.",
        "prune": "Tell, or delete, what no rule selects any more.",
    },
    "Planning": {
        "plan": "Tell what a sync would copy, or why an image is in or out.",
        "estimate": "Say how long a plan takes, and what would change that.",
        "bench": "Measure this host, or the path of a plan, for estimates.",
    },
    "Looking": {
        "status": "Show how far a run is, from its journal.",
        "top": "Look at a run that goes on, pause it, drain it, or change its rate.",
        "report": "Show what a run did, from its report; or compare two.",
    },
    "Registries": {
        "doctor": "Find out what is wrong with a registry, and what to do.",
        "login": "Log in to a registry: check user name and password, and keep them.",
        "logout": "Forget the login of a registry.",
        "registry": "Serve a registry for tests and demos.",
    },
    "Setting up": {
        "demo": "See it work: two registries, made-up images, a copy, a check, a second run.",
        "config": "Check files, show what is in force, convert (check, show, convert, schema).",
        "completion": "Print the script that makes a shell complete verbs, options and values.",
    },
}
"""Verbs by what they are for, most needed first, and what each does in short."""

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
_HEADING_OF_VERB = {name: heading for heading, names in VERBS.items() for name in names}


def heading_of_option(name: str) -> str:
    """The heading of an option, by its long name with the dashes."""
    return _HEADING_OF_OPTION.get(name, FIRST_HEADING)


def heading_of_verb(name: str) -> str:
    """The heading of a verb."""
    return _HEADING_OF_VERB.get(name, LAST_VERBS)
