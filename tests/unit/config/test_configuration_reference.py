"""The reference of the configuration names every key that is read, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from image_syncer.config import MAX_FILE_BYTES
from image_syncer.config.document import MAX_DEPTH, MAX_NODES
from image_syncer.config.loader import load_configuration, load_registries
from image_syncer.config.own_format import CATALOG_KEYS, GO_KEYS, OWN_KEYS, RULE_KEYS, TAG_KEYS
from image_syncer.config.policy import POLICY_KEYS
from image_syncer.config.referrers import REFERRER_KEYS
from image_syncer.config.registries import GO_ENTRY_KEYS, OWN_ENTRY_KEYS
from image_syncer.credentials.helper import HELPER_TIMEOUT_S

TEXT = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")


def tables(heading):
    """The keys in the first column of every table whose first heading is this, in their order."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE):
        first, _, *rows = table.splitlines()
        if first.split("|")[1].strip() == heading:
            found.append([re.search(r"`([^`]+)`", row.split("|")[1])[1] for row in rows])
    return found


@pytest.mark.parametrize(
    ("heading", "keys"),
    [
        ("key of an entry", [GO_ENTRY_KEYS]),
        ("key at the top", [GO_KEYS, OWN_KEYS]),
        ("key of `registries`", [OWN_ENTRY_KEYS]),
        ("key of a rule", [tuple(key for key in RULE_KEYS if key not in CATALOG_KEYS)]),
        ("key of such a rule", [CATALOG_KEYS]),
        ("key of `tags`", [TAG_KEYS]),
        ("key of `referrers`", [REFERRER_KEYS]),
        ("key of `policy`", [POLICY_KEYS]),
    ],
)
def test_tables_hold_every_key(heading, keys):
    assert [sorted(table) for table in tables(heading)] == [sorted(names) for names in keys]


def test_bounds_are_the_real_ones():
    assert (MAX_FILE_BYTES, MAX_NODES, MAX_DEPTH, HELPER_TIMEOUT_S) == (16 << 20, 1_000_000, 64, 30)
    assert "A file may have 16 MiB, a million values (those that aliases repeat included) and 64 levels." in TEXT
    assert "has 30 seconds to answer" in TEXT


def test_what_is_shown_can_be_loaded(tmp_path):
    """The blocks of the document, each in its role; what they name is set."""
    auth, images, own, catalog, policy, created = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    files = {}
    contents = {"auth": auth, "images": images, "config": own, "catalog": catalog, "policy": policy, "created": created}
    for role, content in contents.items():
        files[role] = str(tmp_path / f"{role}.yaml")
        Path(files[role]).write_text(content, encoding="utf-8")
    environ = dict.fromkeys(["QUAY_PASSWORD", "COREOS_USER", "COREOS_PASSWORD", "SECOND_REGISTRY"], "quay.io")
    split = load_configuration(auth=files["auth"], images=files["images"], environ=environ)
    single = load_configuration(config=files["config"], environ=environ)
    whole = load_configuration(config=files["catalog"], environ={})
    assert (len(whole.catalogs), whole.rules) == (2, ())
    assert (len(split.rules), len(split.registries.entries), split.warnings) == (5, 3, ())
    assert (len(single.rules), len(single.registries.entries), single.warnings) == (1, 1, ())
    policies = load_configuration(config=files["policy"], environ={}).policies
    assert [policy.on_refusal.value for policy in policies] == ["skip", "fail"]
    creating = load_registries(files["created"], environ={"HARBOR_PASSWORD": "p"}).registries.entries
    assert [entry.creation is not None and entry.creation.create for entry in creating] == [True, True]
