"""The long form of the fuzzer, guided by coverage (atheris): `python tests/fuzz/run.py [SECONDS] [TARGET …]`.

Each target gets its part of the time in a process of its own. What crashes is printed and kept in the folder that is
named, and the exit code is 1.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DEFAULT_S = 600
LIMITS = ("-max_len=65536", "-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1", "-verbosity=0")
"""Bytes, seconds for one input, MiB."""


def fuzz(name: str, corpus: str, seconds: str) -> None:
    """Feed one target until the time is over; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["image_syncer"]):
        from fuzz.targets import TARGETS

    run = TARGETS[name].run
    atheris.Setup(
        [sys.argv[0], corpus, f"-artifact_prefix={corpus}/crash-", f"-max_total_time={seconds}", *LIMITS],
        run,
    )
    atheris.Fuzz()


def main(arguments: list[str]) -> int:
    """Fuzz all targets, or those that are named."""
    from fuzz.mutation import mutated  # noqa: F401 - fails here, and not in each process, where the path is wrong
    from fuzz.targets import TARGETS

    seconds = int(arguments[0]) if arguments else DEFAULT_S
    names = arguments[1:] or list(TARGETS)
    broken = []
    for name in names:
        corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
        for number, seed in enumerate(TARGETS[name].seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
        share = max(1, seconds // len(names))
        done = subprocess.run(
            [sys.executable, __file__, "--one", name, str(corpus), str(share)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        runs = next((line for line in done.stderr.splitlines() if "number_of_executed_units" in line), "")
        print(f"{name}: {share} s, {runs.rpartition(' ')[2] or '?'} inputs, exit code {done.returncode}", flush=True)
        if done.returncode != 0:
            broken.append(name)
            print(f"{done.stdout[-4000:]}\n{done.stderr[-8000:]}\nkept in {corpus}")
    print("crashed: " + ", ".join(broken) if broken else "nothing crashed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "engine"), str(ROOT / "cli")]
    if sys.argv[1:2] == ["--one"]:
        fuzz(*sys.argv[2:5])
    else:
        sys.exit(main(sys.argv[1:]))
