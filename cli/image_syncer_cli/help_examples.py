"""The examples at the end of each verb's `--help`: what can be typed as it stands, with names put in."""

from __future__ import annotations

__all__ = ["EXAMPLES"]

_FILES = "--auth auth.yaml --images images.yaml"

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "sync": (
        (f"sync {_FILES}", "What the files say"),
        (f"sync {_FILES} --dry-run", "What would be copied, and how many bytes"),
        (f"sync {_FILES} --state run.journal", "Go on where the last run ended"),
        (f"sync {_FILES} --rate 200MB/s", "Leave room for others on the line"),
    ),
    "copy": (
        ("copy nginx:1.27 registry.example/mirror/nginx", "One image, all its platforms"),
        ("copy --all-tags nginx registry.example/nginx", "Every tag of a repository"),
        ("copy --platform linux/arm64 nginx:1.27 host.example/nginx", "One platform of it"),
        ("copy nginx:1.27 oci:folder:nginx", "Into an OCI layout on this machine"),
    ),
    "retry": (
        ("retry --report run.json", "What failed, with the files of that run"),
        ("retry --report run.json --new-report again.json", "The same, with a report of its own"),
    ),
    "export": (
        ("export /media/stick --images images.yaml", "For a network that is not connected"),
        ("export next --images images.yaml --against former", "Only what has come since"),
        ("export disc --images images.yaml --part-size 700MiB", "In parts of a size"),
    ),
    "import": (
        ("import /media/stick --to registry.example", "All of it, checked first"),
        ("import /media/stick --verify-only", "Check the bundle, and write nothing"),
        ("import next former --to registry.example/mirror", "What an export --against a former one left out"),
    ),
    "watch": (
        (f"watch {_FILES} --every 10m", "Every ten minutes"),
        (f'watch {_FILES} --every "0 3 * * *"', "Each night at three"),
        ("watch --config sync.yaml --every 1h --listen 127.0.0.1:8080", "With health, metrics and events"),
    ),
    "diff": (
        (f"diff {_FILES}", "Which tags are missing or differ"),
        (f"diff {_FILES} --ahead", "And which side is ahead"),
        (f"diff {_FILES} --json", "For programs, an object a line"),
    ),
    "verify": (
        (f"verify {_FILES}", "Tags, manifests, and that each blob is there"),
        (f"verify {_FILES} --deep", "Every byte, read and hashed"),
    ),
    "prune": (
        (f"prune {_FILES}", "What would go; nothing is deleted"),
        (f"prune {_FILES} --save prune.json", "Write that down, to look at it"),
        (f"prune {_FILES} --plan prune.json", "Delete just what is written there"),
    ),
    "plan": (
        (f"plan {_FILES}", "What a sync would copy"),
        (f"plan {_FILES} --save plan.json", "With every blob and request, to be carried out later"),
        (f"plan {_FILES} --explain nginx:1.27", "Why this image is in, or is not"),
    ),
    "estimate": (
        ("estimate --plan plan.json --bench bench.json", "How long it takes, and what holds it up"),
        ("estimate --plan plan.json --bench bench.json --workers 4", "With other settings"),
        ("estimate --plan p.json --bench b.json --budget '8h, 200MB/s'", "What it takes to keep to that"),
    ),
    "bench": (
        ("bench --save bench.json", "This host alone, over loopback"),
        ("bench --plan plan.json --save bench.json", "The path of a plan"),
    ),
    "status": (
        ("status run.journal", "How far the run of sync --state run.journal is"),
        ("status run.journal --json", "For programs"),
    ),
    "top": (
        ("top", "Look at the run on this machine"),
        ("top run.sock", "Look at the run of sync --control run.sock"),
    ),
    "report": (
        ("report run.json", "What a run did, in words"),
        ("report run.json --html run.html", "All of it, with figures, as one page"),
        ("report monday.json tuesday.json", "What is better, and what is worse"),
    ),
    "doctor": (
        ("doctor registry.example", "Name, connection, TLS, login"),
        ("doctor registry.example/team/app --auth auth.yaml", "And reading a repository"),
        ("doctor registry.example/team/app --write", "And writing; what is written is deleted again"),
    ),
    "login": (
        ("login registry.example", "Name and password are asked for"),
        ("login registry.example -u me --password-stdin < secret.txt", "In a script"),
    ),
    "logout": (
        ("logout registry.example", "Forget the login of one registry"),
        ("logout", "That of Docker Hub"),
    ),
    "registry": (
        ("registry --memory --listen 127.0.0.1:5000", "Forgotten at the end"),
        ("registry --root folder --behave harbor", "Kept in a folder, and as particular as Harbor"),
    ),
    "demo": (
        ("demo", "All of it, in some seconds"),
        ("demo --size 1GiB --workers 2", "A larger blob"),
    ),
    "completion": (
        ("completion bash > /etc/bash_completion.d/image-syncer", "For everybody, bash"),
        ("completion zsh > ~/.zsh/_image-syncer", "For yourself, zsh, with ~/.zsh in $fpath"),
        ("completion fish > ~/.config/fish/completions/image-syncer.fish", "For yourself, fish"),
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
        ("config schema --path", "Where it lies on this machine"),
    ),
    "config show": (
        (f"config show {_FILES}", "What would be in force"),
        ("config show --config sync.yaml --retries 5 --json", "With options, for programs"),
    ),
}
"""By the words of the verb: the line without the program's name, and what it does."""
