from __future__ import annotations

from textwrap import dedent

import pytest

from image_syncer.config.converters import ConversionOptions, convert_files
from support.planned_copies import planned_copies


class Converted:
    """A conversion, and what the new file would copy."""

    def __init__(self, path, done):
        self.path = path
        self.done = done
        self.text = done.text

    def plan(self, listed):
        return planned_copies(self.path, listed)

    @property
    def told(self):
        """Line, key and text of each warning."""
        return [(one.line, one.key, one.what) for one in self.done.warnings]

    @property
    def in_force(self):
        """The lines that are no comments."""
        return [line for line in self.text.splitlines() if line and not line.lstrip().startswith("#")]


@pytest.fixture
def convert(tmp_path):
    def run(content, name="foreign.yaml", source_format=None, **options):
        path = tmp_path / name
        path.write_text(dedent(content), encoding="utf-8")
        done = convert_files(file=str(path), source_format=source_format, options=ConversionOptions(**options))
        new = tmp_path / "new.yaml"
        new.write_text(done.text, encoding="utf-8")
        return Converted(new, done)

    return run
