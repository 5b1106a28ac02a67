"""The rules of the rooms themselves, tried on made-up sources: each catches what it is there to catch."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from architecture.rooms import (
    eager_imports_of_the_public_api,
    impurities,
    private_imports_of_the_cli,
    upward_imports,
)
from architecture.source_tree import Module, exported_names, modules_under

if TYPE_CHECKING:
    from pathlib import Path


def sources(root: Path, files: dict[str, str]) -> list[Module]:
    """Writes the files below a made-up source root, and reads them as modules."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return modules_under(root)


@pytest.mark.parametrize(
    "source",
    [
        "import image_syncer.worker",
        "import image_syncer.worker.pool as pool",
        "from image_syncer.worker import Pool",
        "from image_syncer import worker",
        "from ..worker import Pool",
        "from .. import worker",
        "from ..worker.pool import Pool",
        "def later():\n    from image_syncer.worker import Pool",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from image_syncer.worker import Pool",
        "try:\n    from image_syncer.worker import Pool\nexcept ImportError:\n    Pool = None",
        "from importlib import import_module\nimport_module('image_syncer.worker')",
        "import importlib\nimportlib.import_module('..worker', __package__)",
        "__import__('image_syncer.worker')",
    ],
)
def test_an_upward_import_is_caught(tmp_path: Path, source: str) -> None:
    [complaint] = upward_imports(sources(tmp_path, {"image_syncer/net/client.py": source}))
    assert complaint.startswith("image_syncer/net/client.py:")
    assert complaint.endswith("worker lies below net")


@pytest.mark.parametrize(
    "source",
    [
        "from image_syncer.errors import SyncError",
        "from image_syncer import oci",
        "from image_syncer.net.multi import Multi",
        "from .multi import Multi",
        "from ..registry import Request",
        "import socket, asyncio, pycurl",
    ],
)
def test_an_import_of_the_same_room_or_of_one_above_is_fine(tmp_path: Path, source: str) -> None:
    assert upward_imports(sources(tmp_path, {"image_syncer/net/client.py": source})) == []


def test_relative_imports_start_from_the_package_itself_in_its_init(tmp_path: Path) -> None:
    files = {"image_syncer/net/__init__.py": "from .multi import Multi\nfrom ..embedded import EmbeddedRegistry"}
    [complaint] = upward_imports(sources(tmp_path, files))
    assert complaint.startswith("image_syncer/net/__init__.py:2 imports EmbeddedRegistry from image_syncer.embedded")


@pytest.mark.parametrize("source", ["import image_syncer", "from image_syncer import sync", "from .. import Settings"])
def test_a_room_that_imports_the_public_api_is_caught(tmp_path: Path, source: str) -> None:
    [complaint] = upward_imports(sources(tmp_path, {"image_syncer/worker/loop.py": source}))
    assert "not the public API" in complaint


def test_an_import_by_a_name_made_at_run_time_is_caught(tmp_path: Path) -> None:
    source = "import importlib\nimportlib.import_module('image_syncer.' + room)"
    [complaint] = upward_imports(sources(tmp_path, {"image_syncer/net/client.py": source}))
    assert "nobody can follow" in complaint


def test_a_module_in_no_room_is_caught(tmp_path: Path) -> None:
    [complaint] = upward_imports(sources(tmp_path, {"image_syncer/utils.py": ""}))
    assert "lies in no room" in complaint


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio",
        "import pycurl",
        "import uvloop",
        "import socket",
        "import select",
        "import time",
        "import random",
        "import os",
        "import os.path",
        "import subprocess",
        "import threading",
        "import urllib.request",
        "import concurrent.futures",
        "from time import monotonic",
        "from os import environ",
        "from urllib import request",
        "from pathlib import Path",
        "def later():\n    import time",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio",
        "data = open('file')",
        "print('done')",
        "from datetime import datetime\nnow = datetime.now()",
        "import datetime\nnow = datetime.datetime.utcnow()",
        "from image_syncer.config.loader import load_configuration",
        "from image_syncer.config import loader",
    ],
)
@pytest.mark.parametrize("room", ["errors", "oci/digest", "config/model", "scheduling/scheduler", "transfer/pipe"])
def test_the_world_in_a_pure_room_is_caught(tmp_path: Path, room: str, source: str) -> None:
    [complaint] = impurities(sources(tmp_path, {f"image_syncer/{room}.py": source}))
    assert complaint.startswith(f"image_syncer/{room}.py:")
    assert complaint.endswith("not in a pure room")


@pytest.mark.parametrize(
    "source",
    [
        "import hashlib, re, base64",
        "from urllib.parse import urlsplit",
        "from email.utils import parsedate_to_datetime",
        "from image_syncer.oci import platform",
        "import orjson, yaml",
        "reader.open()",
        "def next_try(now):\n    return schedule.now + now()",
    ],
)
def test_what_touches_nothing_is_fine_in_a_pure_room(tmp_path: Path, source: str) -> None:
    assert impurities(sources(tmp_path, {"image_syncer/registry/tokens.py": source})) == []


def test_shells_may_touch_the_world(tmp_path: Path) -> None:
    files = {
        "image_syncer/config/__init__.py": "from image_syncer.config.loader import load_configuration",
        "image_syncer/config/loader.py": "import os\nopen('file')",
        "image_syncer/net/multi.py": "import pycurl, asyncio, time",
    }
    assert impurities(sources(tmp_path, files)) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from image_syncer import runs", 1),
        ("import image_syncer.errors", 1),
        ("from .errors import SyncError", 1),
        ("try:\n    from image_syncer.errors import SyncError\nexcept ImportError:\n    pass", 1),
        ("if TYPE_CHECKING:\n    from image_syncer.errors import SyncError", 0),
        ("def __getattr__(name):\n    from image_syncer.errors import SyncError\n    return SyncError", 0),
    ],
)
def test_an_eager_import_of_the_public_api_is_caught(tmp_path: Path, source: str, count: int) -> None:
    complaints = eager_imports_of_the_public_api(sources(tmp_path, {"image_syncer/__init__.py": source}))
    assert len(complaints) == count


@pytest.fixture
def offering_engine(tmp_path: Path) -> list[Module]:
    files = {
        "image_syncer/__init__.py": '"""The API. Public too: `image_syncer.embedded`."""\n__all__ = ["sync"]',
        "image_syncer/embedded/__init__.py": '__all__ = ["EmbeddedRegistry"]',
        "image_syncer/embedded/server.py": '__all__ = ["Server"]',
        "image_syncer/worker/__init__.py": '__all__ = ["Worker"]',
    }
    return sources(tmp_path / "engine", files)


@pytest.mark.parametrize(
    "source",
    [
        "from image_syncer import plan",
        "from image_syncer.worker import Worker",
        "from image_syncer import worker",
        "from image_syncer.embedded.server import Server",
        "from image_syncer.embedded import Server",
        "import image_syncer.worker",
        "import image_syncer\nimage_syncer.plan()",
        "def later():\n    from image_syncer.worker import Worker",
    ],
)
def test_a_private_import_of_the_command_is_caught(tmp_path: Path, offering_engine: list[Module], source: str) -> None:
    cli = sources(tmp_path / "cli", {"image_syncer_cli/verbs/sync.py": source})
    assert len(private_imports_of_the_cli(cli, offering_engine)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from image_syncer import sync",
        "from image_syncer import embedded",
        "import image_syncer\nimage_syncer.sync()",
        "import image_syncer.embedded\nimage_syncer.embedded.EmbeddedRegistry()",
        "from image_syncer.embedded import EmbeddedRegistry",
        "from image_syncer_cli.display.render import table",
    ],
)
def test_what_is_offered_is_fine_in_the_command(tmp_path: Path, offering_engine: list[Module], source: str) -> None:
    cli = sources(tmp_path / "cli", {"image_syncer_cli/verbs/sync.py": source})
    assert private_imports_of_the_cli(cli, offering_engine) == []


def test_an_all_that_is_computed_is_caught(tmp_path: Path) -> None:
    [module] = sources(tmp_path, {"image_syncer/errors.py": "__all__ = sorted(globals())"})
    with pytest.raises(ValueError, match="no literal list"):
        exported_names(module)
