"""One profiled run of image-syncer, and which kind of code took which share of its CPU.

`perf` samples the kernel and all native code (`cpu-clock` where the machine gives no counters, as most virtual ones);
Python's share is what the interpreter itself takes. `py-spy` samples the stacks of Python processes, and sees what they
do while they are in native code, but not the kernel.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from perf.errors import Mistake
from perf.measure import run_measured

if TYPE_CHECKING:
    from perf.staging import Stage
    from perf.tools import Tool

__all__ = ["KINDS", "PROFILERS", "classify", "profile_once", "shares_of"]

PROFILERS = ("perf", "py-spy")
KINDS = ("hash", "kernel", "copy", "libcurl", "TLS", "python", "other")
_HERTZ = 499
"""No divisor of the kernel's own clocks, so that nothing is sampled in step."""
_LEAST_SHARE = 0.005

_LINE = re.compile(r"\s*(?P<share>[\d.]+)%\s+(?P<place>\S+)\s+\[(?P<ring>.)\]\s+(?P<symbol>.+?)\s*")
_NATIVE = re.compile(r"(?P<symbol>.+) \((?P<place>[^()]+)\)")
_COPY = re.compile(r"memmove|memcpy|memset")
_HASH = re.compile(r"^_?sha(1|256|512)_|^SHA(1|256|512)_|^EVP_Digest", re.IGNORECASE)
_CALLS = re.compile(
    r"_*(send|sendto|sendmsg|recv|recvfrom|recvmsg|read|write|writev|p?poll|epoll_\w+|futex|mmap|munmap)\w*"
)
"""Functions of libc that wait in the kernel: a profiler that does not see the kernel has them as its leaves."""
_BUNDLED = re.compile(r"lib(crypto|ssl)-[0-9a-f]+\.so")
"""OpenSSL as a wheel brings it: pycurl's own copy, which does TLS and no hash of ours."""
_PYCURL = re.compile(r"(easy|multi|share)\w*\.c")
_PYTHON = re.compile(r"python|uvloop|orjson|frozen|\.pyx?$|^_\w+\.cpython|\.cpython-")


def classify(place: str, symbol: str, ring: str = ".") -> str:
    """The kind of code that `symbol` of the file `place` is; `ring` is perf's `k` for the kernel.

    The assembly of OpenSSL's hashes and ciphers has no symbols, so a library that a wheel brought counts as TLS and the
    system's as hash. In a Python that shares one OpenSSL with libcurl, TLS is counted as hash.
    """
    name = place.rpartition("/")[2].lower()
    if ring == "k" or name in ("[kernel.kallsyms]", "[kernel]", "[vdso]"):
        return "kernel"
    if _COPY.search(symbol):
        return "copy"
    if name.startswith(("libc.", "libc-")):
        if _CALLS.fullmatch(symbol):
            return "kernel"
        return "copy" if symbol.startswith("0x") else "other"  # memmove, in a libc without symbols
    if _HASH.search(symbol):
        return "hash"
    if name.startswith(("libcrypto", "libssl")):
        return "TLS" if _BUNDLED.match(name) or name.startswith("libssl") else "hash"
    if "curl" in name or "nghttp2" in name or _PYCURL.fullmatch(name):
        return "libcurl"
    return "python" if _PYTHON.search(name) else "other"


def profile_once(stage: Stage, tool: Tool, profiler: str, streams: int) -> dict[str, float]:
    """Run `tool` once more under `profiler`; the shares, the largest first. Raises Mistake where that cannot be."""
    program = shutil.which(profiler) or shutil.which(profiler, path=str(Path(sys.executable).parent))
    if program is None:
        raise Mistake(f"--profile {profiler}: it is not installed")
    with stage.run(streams) as task:
        data = task.folder / "profile"
        if profiler == "perf":
            before = [program, "record", "-q", "-e", "cpu-clock", "-F", str(_HERTZ), "-g", "-o", str(data), "--"]
        else:
            before = [program, "record", "-s", "-n", "-r", str(_HERTZ), "-f", "raw", "-o", str(data), "--"]
        run_measured(
            [*before, *tool.command(task)],
            environment=tool.environment(task),
            output=task.folder / "output",
            limit_s=stage.scenario.limit_s,
            name=f"{tool.name} under {profiler}",
        )
        text = _perf_report(program, data) if profiler == "perf" else data.read_text()
    return shares_of(text, profiler)


def shares_of(text: str, profiler: str) -> dict[str, float]:
    """Shares from what `perf report` prints, or from py-spy's collapsed stacks; they add up to 1."""
    weights: dict[str, float] = {}
    for line in text.splitlines():
        if profiler == "perf":
            found = _LINE.fullmatch(line)
            if found is None:
                continue
            kind, weight = classify(found["place"], found["symbol"], found["ring"]), float(found["share"])
        else:
            stack, _, count = line.rpartition(" ")
            if not count.isdigit():
                continue
            leaf = _NATIVE.fullmatch(stack.rpartition(";")[2])
            kind = classify(leaf["place"].partition(":")[0], leaf["symbol"]) if leaf else "other"
            weight = float(count)
        weights[kind] = weights.get(kind, 0.0) + weight
    whole = sum(weights.values())
    if not whole:
        raise Mistake(f"--profile {profiler}: it has seen nothing")
    ordered = sorted(weights.items(), key=lambda pair: -pair[1])
    return {kind: round(weight / whole, 4) for kind, weight in ordered if weight / whole >= _LEAST_SHARE}


def _perf_report(program: str, data: Path) -> str:
    command = [program, "report", "-i", str(data), "--no-children", "--sort", "dso,sym", "-g", "none", "--stdio"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Mistake(f"--profile perf: {done.stderr.strip()[-500:]}")
    return done.stdout
