"""Whatever is in a file of another tool: it is converted or refused, and what is written can be read."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.config.converters import ConversionOptions, FileFormat, convert_files
from image_syncer.config.converters.draft import AnyVariables
from image_syncer.config.document import MappingNode, parse_yaml
from image_syncer.config.fields import Dialect, Expansion
from image_syncer.config.findings import Findings
from image_syncer.config.own_format import read_own
from image_syncer.errors import ConfigurationError

KEYS = (
    *("version", "creds", "defaults", "sync", "registry", "user", "pass", "tls", "source", "target", "type", "tags"),
    *("tagSets", "allow", "deny", "semverRange", "repos", "platform", "images", "images-by-tag-regex", "a.example"),
    *("images-by-semver", "credentials", "username", "password", "tls-verify", "tasks", "mappings", "from", "to", ""),
    *("auth", "skip-tls-verify", "name", "mirrors", "reqPerSec", "blobMax", "digests", "b.example:5000/x"),
)
SCALARS = (
    *("1", "true", "a.example", "a.example/x:1", "image", "repository", "registry", "regex:a.*", "regex:a,b", "a/**"),
    *("semver: >=1 <2", "regex: !a", "keep: latest 2", "(", "^1 || 2", "!=1.2", "~1.2.3", '{{env "X"}}', "${X}", "*"),
    *("disabled", "linux/amd64", "none", "ocidir://x", "#", "eyJ1c2VybmFtZSI6ICJhIiwgInBhc3N3b3JkIjogImIifQ=="),
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=12)
keys = st.sampled_from(KEYS)
scalars = st.sampled_from(SCALARS) | texts
shapes = st.recursive(
    scalars | st.none() | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=30,
)
mappings = st.dictionaries(keys, shapes, max_size=6)
sides = st.sampled_from([{"registry": "a.example"}, {"registry": "b.example:5000", "skip-tls-verify": True}]) | shapes
regsync = st.fixed_dictionaries(
    {"sync": st.lists(mappings, max_size=3)}, optional={"creds": st.lists(mappings, max_size=2), "defaults": shapes}
)
tasks = st.fixed_dictionaries({"source": sides, "target": sides, "mappings": st.lists(mappings, max_size=3)})
dregsy = st.fixed_dictionaries({"tasks": st.lists(tasks, max_size=2)})
images = st.dictionaries(keys, shapes | st.dictionaries(texts | keys, shapes, max_size=3), max_size=5)
skopeo = st.dictionaries(st.sampled_from(["a.example", "b.example:5000", "", "x"]) | texts, images, max_size=3)
files = regsync | dregsy | skopeo | st.dictionaries(keys | texts, shapes, max_size=5)


def convert(text, source_format):
    """The conversion; None where the file is refused, with a reason."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "foreign.yaml")
        path.write_text(text, encoding="utf-8")
        try:
            return convert_files(
                file=str(path), source_format=source_format, options=ConversionOptions(to="t.example/x")
            )
        except ConfigurationError:
            return None


@given(files, st.sampled_from([None, *FileFormat]))
def test_a_file_is_converted_or_refused_and_what_is_written_can_be_read(data, source_format):
    done = convert(yaml.safe_dump(data, allow_unicode=True), source_format)
    if done is None:
        return
    root = parse_yaml(done.text).root
    assert isinstance(root, MappingNode)
    findings = Findings("new.yaml")
    dialect = Dialect(True, False, Expansion.BRACED, Expansion.BRACED, AnyVariables(), lambda name: (name, True))
    _, rules = read_own(root, findings, dialect)
    assert findings.errors == []
    assert len(rules) == done.rules
