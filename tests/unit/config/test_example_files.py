"""Every file under docs/examples can be used as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from image_syncer.config.loader import load_configuration

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
ENVIRON = {
    "QUAY_PASSWORD": "q",
    "COREOS_USER": "c",
    "COREOS_PASSWORD": "p",
    "DOCKER_HUB_TOKEN": "t",
    "PUSH_PASSWORD": "w",
    "SECOND_REGISTRY": "second.example.com",
}
ROLES = {
    "auth.yaml": "auth",
    "auth.json": "auth",
    "images.yaml": "images",
    "images.json": "images",
    "config.yaml": "config",
    "config.json": "config",
    "own.yaml": "config",
}


def load(*names, directory=EXAMPLES):
    """The configuration of example files, each in its role."""
    return load_configuration(**{ROLES[name]: str(directory / name) for name in names}, environ=ENVIRON)


@pytest.mark.parametrize(
    "names",
    [("auth.yaml", "images.yaml"), ("auth.json", "images.json"), ("config.yaml",), ("config.json",), ("own.yaml",)],
)
def test_an_example_has_rules_and_no_warnings(names, tmp_path):
    for name in {*names, *(path.name for path in EXAMPLES.glob("*.pem"))}:
        (tmp_path / name).write_bytes((EXAMPLES / name).read_bytes())  # a checkout is for everybody to read
    configuration = load(*names, directory=tmp_path)
    assert configuration.rules
    assert configuration.registries.entries
    assert configuration.warnings == ()


def test_yaml_and_json_say_the_same():
    for one, other in (
        (load("auth.yaml", "images.yaml"), load("auth.json", "images.json")),
        (load("config.yaml"), load("config.json")),
    ):
        assert one.registries == other.registries
        assert [(r.source, r.tags, r.destinations) for r in one.rules] == [
            (r.source, r.tags, r.destinations) for r in other.rules
        ]


def test_no_example_is_left_out():
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix not in (".pem", ".py")} == set(ROLES)
