"""A run of image-syncer in a process of its own, with everything that a test wants to know of it afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.processes import PATIENCE_S, Process, process_of, wait_until, workers_of, zygotes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from image_syncer.embedded import DemoImage

PROJECT = Path(__file__).parents[2]
SOURCE_ROOTS = (str(PROJECT / "engine"), str(PROJECT / "cli"))


@dataclass(frozen=True)
class RunFiles:
    """The files of one run, all in `directory`."""

    directory: Path

    @property
    def auth(self) -> Path:
        return self.directory / "auth.json"

    @property
    def images(self) -> Path:
        return self.directory / "images.json"

    @property
    def config(self) -> Path:
        """A file in our own format: where it is there, it stands for the other two."""
        return self.directory / "own.json"

    @property
    def report(self) -> Path:
        return self.directory / "report.json"

    @property
    def log(self) -> Path:
        return self.directory / "run.log"

    def write(self, source: str, destination: str, images: Iterable[DemoImage], *, all_tags: bool = False) -> None:
        """An auth file and an images file that say: copy `images` from one address to the other, by their tags or,
        with `all_tags`, by what their repositories list.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        insecure = {"insecure": True, "username": "", "password": ""}
        self.auth.write_text(json.dumps({source: insecure, destination: insecure}))
        tags: dict[str, list[str]] = {}
        for image in images:
            tags.setdefault(image.repository, []).append(image.tag)
        rules = {
            f"{source}/{name}" + ("" if all_tags else f":{','.join(of)}"): f"{destination}/{name}"
            for name, of in tags.items()
        }
        self.images.write_text(json.dumps(rules))


_CUSTOMIZE = """
import os, sys
text, forks = {text!r}, 0
def in_child():
    global forks
    forks += 1
    if forks == 2:  # the first is the zygote, which forks workers
        process = sys.modules["image_syncer.worker.process"]
        begin = process.main
        def main(fd):
            sys.orig_argv = [*sys.orig_argv, process.__name__]
            exec(text, {{"__name__": __name__}})
            begin(fd)
        process.main = main
os.register_at_fork(after_in_child=in_child)
exec(text, {{"__name__": __name__}})
"""


class SyncProcess:
    """`image-syncer VERB WORDS…` with the auth and images file, report and log of `files`, in a session of its own.

    `settings` are fields of `Settings` for which the command has no option: with them a small program calls the engine
    instead. `launcher` goes before the command (`ulimit`, say). `sabotage` is a program with which every Python process
    of the run begins, workers that are forked too: in a worker, `sys.orig_argv` names its module. Processes that are
    left when the block is left are killed.
    """

    def __init__(
        self,
        files: RunFiles,
        *words: str,
        settings: Mapping[str, object] | None = None,
        environment: Mapping[str, str | None] | None = None,
        sabotage: str | None = None,
        launcher: Sequence[str] = (),
        directory: Path | None = None,
        verb: str = "sync",
    ) -> None:
        self.files = files
        roots = list(SOURCE_ROOTS)
        if sabotage is not None:
            folder = files.directory / "sabotage"
            folder.mkdir()
            (folder / "sitecustomize.py").write_text(_CUSTOMIZE.format(text=sabotage))
            roots.insert(0, str(folder))
        self._out, self._err = files.directory / "stdout", files.directory / "stderr"
        if settings is None:
            own = ["--config", files.config] if files.config.exists() else None
            common = [*(own or ["--auth", files.auth, "--images", files.images]), "--report", files.report]
            command = ["-m", "image_syncer_cli", verb, *common, "--log", files.log, "--log-format", "json", *words]
        else:
            given: dict[str, object] = {name: str(getattr(files, name)) for name in ("auth", "images", "log")}
            given["settings"] = {"report_path": str(files.report), **settings}
            command = [Path(__file__).with_name("driver.py"), json.dumps(given)]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._child = subprocess.Popen(
                [*launcher, sys.executable, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=directory or files.directory,
                env=_environment(roots, environment or {}),
                start_new_session=True,
            )
        self.process = process_of(self._child.pid)
        self._seen: set[Process] = {self.process}

    def __enter__(self) -> SyncProcess:  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.look()
        for process in self._seen:
            if process.is_alive:
                os.kill(process.pid, signal.SIGKILL)
        self._child.wait()

    @property
    def pid(self) -> int:
        return self._child.pid

    def look(self) -> list[Process]:
        """The worker processes as they are now; all that were ever seen are remembered."""
        workers = workers_of(self.pid)
        self._seen.update(workers, zygotes_of(self.pid))
        return workers

    def wait_for_workers(self, count: int, *, but: Iterable[int] = ()) -> list[Process]:
        """`count` workers that are ready, the pids in `but` not among them."""

        def ready() -> list[Process]:
            told = {event["pid"] for event in self.events("worker ready")}
            return [one for one in self.look() if one.pid in told.difference(but)]

        wait_until(lambda: len(ready()) >= count or not self.process.is_alive, f"{count} workers")
        assert len(ready()) >= count, f"ended without {count} workers: {self.err}"
        return ready()

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the coordinator, or to the whole process group, as a terminal does."""
        (os.killpg if group else os.kill)(self.pid, number)

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """The exit code, when it has ended."""
        self.look()
        try:
            return self._child.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {patience_s:.0f} s; it said: {self.out}{self.err}") from None

    @property
    def orphans(self) -> list[Process]:
        """Processes of the run that are still there although the coordinator has gone."""
        return [process for process in self._seen if process.is_alive]

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.files.report.read_text())
        return report

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """What the log says so far: everything, or the events of one name."""
        if not self.files.log.exists():
            return []
        # The last line may not be whole yet.
        lines = self.files.log.read_text().split("\n")[:-1]
        found = [json.loads(line) for line in lines]
        return [event for event in found if name is None or event["event"] == name]


def _environment(roots: list[str], changes: Mapping[str, str | None]) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots), "DOCKER_CONFIG": str(PROJECT / "tests")}
    for name, value in changes.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    return environment
