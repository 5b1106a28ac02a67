"""What `--help` and the man page show besides the options: headings in their order, and examples.

Headings are a table, so that their order is the same for every verb. An option in no table is under the first heading
of its verb, a verb in none among the last verbs.
"""

from __future__ import annotations

FIRST_HEADING = "Options"
"""The heading of options that only this verb has, or requires."""
LAST_VERBS = "More"

VERBS = {
    "Copying": {
        "sync": "Copy what the files say (the verb may be left out).",
        "copy": "Copy one image or repository, without files.",
        "retry": "Copy again what failed in an earlier run, from its report.",
        "export": "Copy what the files say into a bundle, for a registry behind a gap.",
        "import": "Verify a bundle, and copy it into a registry.",
    },
    "Keeping in sync": {
        "watch": "Sync again and again, at an interval or by a cron expression.",
        "diff": "Show which tags differ, and write nothing.",
        "verify": "Compare sources and destinations, and write nothing.",
        "prune": "Show, or delete, what no rule selects any more.",
    },
    "Planning": {
        "plan": "Show what a sync would copy, or why an image is in or out.",
        "estimate": "Estimate how long a plan takes, and what would change that.",
        "bench": "Measure this host, or the path of a plan, for estimates.",
    },
    "Inspecting": {
        "status": "Show the state of a run, from its journal.",
        "top": "Show a live run, pause it, drain it, or change its rate.",
        "report": "Show what a run did, from its report; or compare two.",
    },
    "Registries": {
        "doctor": "Find out what is wrong with a registry, and what to do.",
        "login": "Log in to a registry: verify user name and password, and store them.",
        "logout": "Remove the login of a registry.",
        "registry": "Serve a registry for tests and demos.",
    },
    "Setting up": {
        "demo": "Try it: two registries, made-up images, a copy, a check, a second run.",
        "config": "Check files, show the effective configuration, convert (check, show, convert, schema).",
        "completion": "Print the script with which a shell completes verbs, options and values.",
    },
}
"""Verbs by purpose, most needed first, and what each does in short."""

OPTION_HEADINGS = {
    "Files and registries": ("--auth", "--images", "--config", "--plan", "--bench", "--insecure"),
    "What to copy": (
        *("--os", "--arch", "--missing-platform", "--all-tags", "--platform", "--force", "--on-conflict"),
        *("--referrers", "--verify", "--dry-run"),
    ),
    "Format": ("--foreign-layers", "--format"),
    "Retries and timeouts": (
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
"""Options by their long names. Below a heading, they are in the order in which verbs have them."""

_FILES = "--auth auth.yaml --images images.yaml"

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "sync": (
        (f"sync {_FILES}", "Copy what the files say"),
        (f"sync {_FILES} --dry-run", "Show what would be copied, and how many bytes"),
        (f"sync {_FILES} --state run.journal", "Resume the last run"),
        (f"sync {_FILES} --rate 200MB/s", "With limited bandwidth"),
    ),
    "copy": (
        ("copy nginx:1.27 registry.example/mirror/nginx", "One image, all its platforms"),
        ("copy --all-tags nginx registry.example/nginx", "Every tag of a repository"),
        ("copy --platform linux/arm64 nginx:1.27 host.example/nginx", "One platform of it"),
        ("copy nginx:1.27 oci:folder:nginx", "Into an OCI layout on this machine"),
    ),
    "retry": (
        ("retry --report run.json", "What failed, with the files of that run"),
        ("retry --report run.json --new-report again.json", "The same, with a new report"),
    ),
    "export": (
        ("export /media/stick --images images.yaml", "For a network without connection"),
        ("export next --images images.yaml --against former", "Only what is new since the former bundle"),
        ("export disc --images images.yaml --part-size 700MiB", "In parts of 700 MiB"),
    ),
    "import": (
        ("import /media/stick --to registry.example", "Verify and copy all of it"),
        ("import /media/stick --verify-only", "Verify the bundle, and write nothing"),
        ("import next former --to registry.example/mirror", "With the blobs that export --against left out"),
    ),
    "watch": (
        (f"watch {_FILES} --every 10m", "Every ten minutes"),
        (f'watch {_FILES} --every "0 3 * * *"', "Every night at three"),
        ("watch --config sync.yaml --every 1h --listen 127.0.0.1:8080", "With health, metrics and events"),
    ),
    "diff": (
        (f"diff {_FILES}", "Which tags are missing or differ"),
        (f"diff {_FILES} --ahead", "And which side is ahead"),
        (f"diff {_FILES} --json", "For programs, one object per line"),
    ),
    "verify": (
        (f"verify {_FILES}", "Tags, manifests, and whether each blob exists"),
        (f"verify {_FILES} --deep", "Read and hash every byte"),
    ),
    "prune": (
        (f"prune {_FILES}", "Show what would be deleted"),
        (f"prune {_FILES} --save prune.json", "Write it to a file, for review"),
        (f"prune {_FILES} --plan prune.json", "Delete only what is in that file"),
    ),
    "plan": (
        (f"plan {_FILES}", "Show what a sync would copy"),
        (f"plan {_FILES} --save plan.json", "With every blob and request, for sync --plan"),
        (f"plan {_FILES} --explain nginx:1.27", "Explain why this image is in or out"),
    ),
    "estimate": (
        ("estimate --plan plan.json --bench bench.json", "How long it takes, and why"),
        ("estimate --plan plan.json --bench bench.json --workers 4", "With other settings"),
        ("estimate --plan p.json --bench b.json --budget '8h, 200MB/s'", "Which settings keep to that"),
    ),
    "bench": (
        ("bench --save bench.json", "This host, over loopback"),
        ("bench --plan plan.json --save bench.json", "The path of a plan"),
    ),
    "status": (
        ("status run.journal", "State of the run of sync --state run.journal"),
        ("status run.journal --json", "For programs"),
    ),
    "top": (("top", "Show the run on this machine"), ("top run.sock", "Show the run of sync --control run.sock")),
    "report": (
        ("report run.json", "Show what a run did"),
        ("report run.json --html run.html", "Everything, with figures, as one page"),
        ("report monday.json tuesday.json", "Compare two runs"),
    ),
    "doctor": (
        ("doctor registry.example", "Name, connection, TLS, login"),
        ("doctor registry.example/team/app --auth auth.yaml", "And reading a repository"),
        ("doctor registry.example/team/app --write", "And writing; what was written is deleted again"),
    ),
    "login": (
        ("login registry.example", "Prompt for name and password"),
        ("login registry.example -u me --password-stdin < secret.txt", "In a script"),
    ),
    "logout": (
        ("logout registry.example", "Remove the login of one registry"),
        ("logout", "Remove that of Docker Hub"),
    ),
    "registry": (
        ("registry --memory --listen 127.0.0.1:5000", "In memory"),
        ("registry --root folder --behave harbor", "In a folder, with the behaviour of Harbor"),
    ),
    "demo": (("demo", "All of it, in a few seconds"), ("demo --size 1GiB --workers 2", "A larger blob")),
    "completion": (
        ("completion bash > /etc/bash_completion.d/image-syncer", "For all users, bash"),
        ("completion zsh > ~/.zsh/_image-syncer", "For one user, zsh, with ~/.zsh in $fpath"),
        ("completion fish > ~/.config/fish/completions/image-syncer.fish", "For one user, fish"),
    ),
    "config check": (
        (f"config check {_FILES}", "Both files"),
        ("config check --config sync.yaml", "One file with both parts"),
    ),
    "config convert": (
        ("config convert --auth auth.yaml --images images.yaml", "The Go tool's two files"),
        ("config convert regsync.yml --output sync.yaml", "The file of another tool"),
    ),
    "config schema": (
        ("config schema > schema.json", "For an editor"),
        ("config schema --path", "Its path on this machine"),
    ),
    "config show": (
        (f"config show {_FILES}", "The effective configuration"),
        ("config show --config sync.yaml --retries 5 --json", "With options, for programs"),
    ),
}
"""By the words of the verb: a command line without the program's name, and what it does."""
