"""A converted file of skopeo, against what skopeo itself says that it would copy."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from image_syncer.config.converters import ConversionOptions, convert_files
from image_syncer.embedded import ContentBuilder, push_to, serve_in_thread
from support.planned_copies import planned_copies
from support.programs import TIMEOUT_S, find_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

TAGS = {
    "busybox": ["1", "latest"],
    "redis": ["1.0", "2.0", "3.0"],
    "team/nginx": ["1.13.1-alpine-perl", "1.13.2-alpine-perl", "1.13.2-alpine-perl2", "1.14.1-alpine-perl", "1x13.1"],
}
TO = "mirror.example/copies/"
_COPY = re.compile(r'from="?docker://(?P<source>[^" ]+)"? to="?docker://(?P<target>[^" ]+?)"?$', re.MULTILINE)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A file of skopeo, and the registry that it is about."""
    image = ContentBuilder().image(1)
    with serve_in_thread() as source:
        for name, tags in TAGS.items():
            push_to(source.storage, name, image, tags)
        path = tmp_path / "sync.yaml"
        path.write_text(f"""\
{source.address}:
  tls-verify: false
  images:
    busybox: []
    redis: ["1.0", "{image.digest}", "2.0"]
  images-by-tag-regex:
    team/nginx: 1.13\\.[12]-alpine-perl$
""")
        yield path, source.address


def said_by_skopeo(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = ["sync", "--dry-run", *options, "--src", "yaml", "--dest", "docker", str(path), TO]
    program = [find_program("skopeo"), "--insecure-policy"]
    return subprocess.run([*program, *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def test_the_plan_is_that_of_skopeo(file: tuple[Path, str], tmp_path: Path) -> None:
    path, address = file
    said = said_by_skopeo(path)
    assert said.returncode == 0, said.stderr
    theirs = {(match["source"], match["target"]) for match in _COPY.finditer(said.stderr)}
    assert len(theirs) == 7
    new = tmp_path / "new.yaml"
    new.write_text(convert_files(file=str(path), options=ConversionOptions(to=TO)).text)
    assert planned_copies(new, {f"{address}/{name}": tags for name, tags in TAGS.items()}) == theirs


def test_where_skopeo_refuses_a_name_nothing_is_planned(file: tuple[Path, str]) -> None:
    path, _ = file
    said = said_by_skopeo(path, "--scoped")  # the port of the source would be in the middle of the name
    assert said.returncode == 1
    assert "invalid reference format" in said.stderr
    assert convert_files(file=str(path), options=ConversionOptions(to=TO, scoped=True)).rules == 0
