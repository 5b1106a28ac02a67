"""Tests that count what a process allocates, or measure its processor time, run in a process of their own.

The process of the test run has threads of pytest, of xdist and of earlier tests, and a heap that they share: they
allocate while a test counts, and the garbage collector looks through their objects while a test is measured.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from functools import wraps
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_own_process"]

PATIENCE_S = 300.0
"""How long the process may take: it is killed then, and the test fails."""
PROJECT = Path(__file__).parents[2]
ROOTS = tuple(str(PROJECT / name) for name in ("engine", "cli", "tests", "."))
"""Where modules are imported from: the `pythonpath` of setup.cfg."""


def in_own_process(test: Callable[..., None]) -> Callable[..., None]:
    """Run the body of `test`, a function of a module, in a fresh interpreter.

    Its fixtures and parameters are made here and pickled, so paths, texts and numbers can be used. A failure shows the
    traceback of that process. pytest does not rewrite its assertions: each says in its message what was counted.
    """

    @wraps(test)
    def run(**arguments: Any) -> None:
        path = test.__code__.co_filename
        done = subprocess.run(
            [sys.executable, __file__, path, test.__name__],
            input=pickle.dumps(arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(ROOTS)},
            timeout=PATIENCE_S,
            check=False,
        )
        told = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"its own process ended with {done.returncode}:\n{told}"

    return run


def _run(path: str, name: str) -> None:
    """Import the module at `path`, and call the body of its test `name` with the arguments on the standard input."""
    spec = spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    getattr(module, name).__wrapped__(**pickle.load(sys.stdin.buffer))


if __name__ == "__main__":
    _run(*sys.argv[1:])
