"""What a type checker says to a stranger: the package is there as `pip install` leaves it, and nothing else of ours,
neither sources nor configuration.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path

import msgspec
import pytest

import image_syncer
from architecture.source_tree import PROJECT
from architecture.test_wheel import build_wheel

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not here")

WRONG = """
import asyncio
from image_syncer import Configuration, ImageEnded, Settings, sync, sync_async

async def main() -> None:
    async with sync_async(Configuration(), Settings()) as run:
        async for event in run:
            if isinstance(event, ImageEnded):
                event.result.no_such_field
sync(Configuration(), Settings(workers="many"))
count: int = sync(Configuration(), Settings()).summary_line()
async def short() -> int:
    return await sync_async(Configuration(), Settings())
from pathlib import Path
from image_syncer import make_configuration
from image_syncer.config.making import RuleData
rule: RuleData = {"source": "a.example/x", "destination": ["b.example/x"], "tags": {"versions": ">=1", "newest": 3}}
make_configuration(rules=[rule], registries={"b.example": {"ca_file": Path("ca.pem"), "profile": {"kind": "zot"}}})
make_configuration(rules=[{"source": "a.example/x"}])
make_configuration(registries={"a.example": {"insecur": True}})
"""
MISTAKES_BY_LINE = {
    8: "attr-defined",
    9: "arg-type",
    10: "assignment",
    12: "return-value",
    18: "typeddict-item",
    19: "typeddict-unknown-key",
}


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has the wheel, and a directory in which nothing else is."""
    directory = tmp_path_factory.mktemp("stranger")
    wheel = build_wheel(tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheels"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory / "venv"], check=True)
    site = sysconfig.get_path("purelib", vars={"base": str(directory / "venv")})
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), site], check=True)
    # Values are defined by it, so that its types are a part of ours.
    (Path(site) / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    return directory


def checked(stranger: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    python = stranger / "venv" / "bin" / "python"
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--python-executable={python}"]
    return subprocess.run(
        [*command, f"--cache-dir={stranger / 'cache'}", "--no-error-summary", *words],
        cwd=stranger,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_examples_pass(stranger: Path) -> None:
    examples = sorted((PROJECT / "docs" / "examples").glob("*.py"))
    assert len(examples) == 3
    done = checked(stranger, *examples)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_a_strangers_mistakes_are_found(stranger: Path) -> None:
    (stranger / "wrong.py").write_text(WRONG.lstrip())
    done = checked(stranger, "wrong.py")
    found = {int(line.split(":")[1]): line for line in done.stdout.splitlines() if ": error:" in line}
    assert {number: line.rpartition("[")[2].rstrip("]") for number, line in found.items()} == MISTAKES_BY_LINE


def test_no_public_name_is_untyped(stranger: Path) -> None:
    names = sorted(image_syncer.__all__)
    lines = [f"from image_syncer import {', '.join(names)}", *(f"reveal_type({name})" for name in names)]
    (stranger / "names.py").write_text("\n".join(lines))
    done = checked(stranger, "names.py")
    revealed = [line.partition('Revealed type is "')[2] for line in done.stdout.splitlines()]
    assert len(revealed) == len(names), done.stdout
    assert [name for name, text in zip(names, revealed, strict=True) if text.startswith("Any")] == []
