"""What is special about a kind of registry stands in its profile: no other code knows a registry by its host."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from image_syncer.registry import PROFILES

PROJECT = Path(__file__).parents[2]
ENGINE = PROJECT / "engine" / "image_syncer"
HOSTS = re.compile(
    r"amazonaws|ecr\.aws|gcr\.io|pkg\.dev|azurecr|aliyuncs|jfrog|goharbor|docker\.(?:io|com)|quay\.io|registry\.gitlab"
)
MAY_KNOW = (
    "registry/profiles/",
    "oci/reference.py",  # docker.io and its other names
    "credentials/",  # docker's configuration files name Docker Hub in their own way; clouds know their hosts
    "embedded/",  # doubles of registries
)


def literals(path: Path) -> list[str]:
    """Texts in the code, without docstrings, and without what is only an example in a message."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            told |= {id(one.value) for one in body if isinstance(one, ast.Expr)}
        if isinstance(node, ast.JoinedStr):
            told |= {id(part) for part in node.values}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [node.value for node in texts if id(node) not in told and not re.search(r"\s", node.value)]


def test_no_other_code_knows_a_registry_by_its_host() -> None:
    found = []
    for path in sorted(ENGINE.rglob("*.py")):
        name = path.relative_to(ENGINE).as_posix()
        if not name.startswith(MAY_KNOW):
            found += [f"{name}: {text!r}" for text in literals(path) if HOSTS.search(text)]
    assert found == []


def test_the_guard_sees_a_host() -> None:
    assert any(HOSTS.search(text) for text in literals(ENGINE / "registry" / "profiles" / "kinds.py"))


def test_the_page_of_registries_has_a_section_for_every_profile() -> None:
    page = (PROJECT / "docs" / "registries.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", page.partition("\n## ")[0], re.MULTILINE)
    assert listed == list(PROFILES)
    told = set(re.findall(r"`([a-z0-9-]+)`", " ".join(re.findall(r"^## (.*)$", page, re.MULTILINE))))
    assert told == set(PROFILES)
