"""What holds for every test: which are chosen, and how many run at a time; steady property tests; and a line for each
reason for which tests were left out.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from support.programs import locate_program

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

REAL_PROGRAMS = {
    "docker-registry": "docker-registry",
    "skopeo": "skopeo",
    "htpasswd": "apache2-utils",
    "openssl": "openssl",
    "nginx": "nginx",
    "tinyproxy": "tinyproxy-bin",
}
"""Programs that the tests against a real registry run, and the Debian packages that bring them."""

REQUIRE_REAL = "IMAGE_SYNCER_REQUIRE_REAL"
"""Set (in CI): a test against a real registry that was skipped fails the run."""

# These modules are no tests but have assertions; test modules import them.
pytest.register_assert_rewrite("registries.stage", "registries.trials")

TESTS = Path(__file__).parent

QUICK, EVERYTHING = "not slow and not extended", "not slow"
"""What is chosen by default (-m in setup.cfg), and what is chosen where somebody names tests."""

LEAST_WORKERS = 4
"""Of a run of all folders, on few cores too: most tests wait for registries and processes."""

_FOLDERS = ("bundles", "faults", "performance", "process", "real", "registries", "safety")
WHOLE_RUNS = (*_FOLDERS, "cli/test_bad_registries.py")
"""Folders and files in which most tests are whole runs. Of a test with parameters the first case is in the default
selection; the others are extended.
"""

# A loaded machine is no finding, so examples have no deadline; CI tries the same examples each time.
settings.register_profile("steady", deadline=None)
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None, print_blob=True)
# The other Pythons in CI; so few examples say nothing about how many are thrown away.
few = {"max_examples": 20, "suppress_health_check": [HealthCheck.filter_too_much]}
settings.register_profile("brief", settings.get_profile("repeatable"), **few)
settings.load_profile("repeatable" if os.environ.get("CI") else "steady")

# Whoever runs the tests, their files are for nobody else: files with passwords that others may read are warned of.
os.umask(0o077)


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test keeps out of all texts is no secret in the next one."""
    for store in ("_lasting", "_passing"):
        monkeypatch.setattr(f"image_syncer.redaction.{store}", [])


_left_out = pytest.StashKey["dict[str, int]"]()


def is_part(config: pytest.Config) -> bool:
    """Whether this process runs what another one hands out (a worker of pytest-xdist)."""
    return hasattr(config, "workerinput")


def names_tests(config: pytest.Config) -> bool:
    """Whether somebody names the tests to run: by a path, by a node id, by -k or by --lf."""
    given = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    return given or bool(config.option.keyword) or bool(config.getoption("lf", default=False))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run several tests at a time where none are named, and -n, --pdb and -s say nothing else."""
    option = config.option
    alone = option.usepdb or option.capture == "no" or option.collectonly or names_tests(config)
    if config.pluginmanager.has_plugin("xdist") and not is_part(config) and option.numprocesses is None and not alone:
        option.numprocesses = max(LEAST_WORKERS, len(os.sched_getaffinity(0)))
        option.dist = "worksteal" if option.dist == "no" else option.dist


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_left_out] = {"slow": 0, "extended": 0, "real": 0}
    # A worker of pytest-xdist reads setup.cfg and the arguments again, and not what is altered here.
    named = not config.workerinput["whole"] if is_part(config) else names_tests(config)
    if named and config.option.markexpr == QUICK:
        config.option.markexpr = EVERYTHING
    if sys.dont_write_bytecode:
        keep_bytecode(config.rootpath / ".pytest_cache" / "bytecode")
    starts_programs = is_part(config) or not config.getoption("tx", default=None)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        # Under nohup, or in the background of a script: a program that a test starts inherits that a signal is ignored,
        # and inherits no handler.
        if starts_programs and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def keep_bytecode(folder: Path) -> None:
    """Keep compiled modules in `folder` where PYTHONDONTWRITEBYTECODE is set. Many tests start processes, and each of
    those would compile every module again.
    """
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(folder)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist whether it collects all folders."""
    node.workerinput["whole"] = not names_tests(node.config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Import a share of the test modules before the worker collects all of them.

    pytest rewrites the assertions of a module once and keeps the result. Without shares, all workers of a first run
    rewrite every module at the same time.
    """
    told: dict[str, Any] = getattr(session.config, "workerinput", {})
    if not told.get("whole"):
        return
    own, count = int(told["workerid"].removeprefix("gw")), told["workercount"]
    for path in sorted(TESTS.rglob("test_*.py"))[own::count]:
        # Whatever is raised here is raised, and reported, when pytest imports the module again.
        with suppress(Exception, pytest.skip.Exception):
            import_module(".".join(path.relative_to(TESTS.parent).with_suffix("").parts))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as extended the further cases of tests that are whole runs."""
    seen = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        path = item.path.relative_to(TESTS)
        if "slow" in item.keywords or not any(path.is_relative_to(part) for part in WHOLE_RUNS):
            continue
        if test in seen:
            item.add_marker("extended")
        seen.add(test)


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        left_out = item.config.stash[_left_out]
        if "slow" in item.keywords:
            left_out["slow"] += 1
        elif "extended" in item.keywords and item.config.option.markexpr == QUICK:
            left_out["extended"] += 1


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist has ended: each has collected, and left out, the same tests."""
    node.config.stash[_left_out].update(getattr(node, "workeroutput", {}).get("left_out", {}))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    left_out = session.config.stash[_left_out]
    if is_part(session.config):
        session.config.workeroutput["left_out"] = left_out
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    left_out["real"] = sum("real" in report.keywords for report in skipped)
    if left_out["real"] and os.environ.get(REQUIRE_REAL) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    left_out = config.stash[_left_out]
    if left_out["real"]:
        missing = [program for program in REAL_PROGRAMS if locate_program(program) is None]
        why = f"{', '.join(missing)} not found" if missing else "skipped, the reasons stand above"
        packages = " ".join(REAL_PROGRAMS[program] for program in missing)
        mend = f" (Debian: apt-get install {packages})" if missing else ""
        terminalreporter.write_line(f"left out: {left_out['real']} real-registry tests: {why}{mend}", yellow=True)
        if os.environ.get(REQUIRE_REAL):
            terminalreporter.write_line(f"{REQUIRE_REAL} is set: that fails this run", red=True)
    if left_out["extended"]:
        terminalreporter.write_line(
            f"left out: {left_out['extended']} extended tests: run all but the slow ones with "
            f'`python -m pytest -m "{EVERYTHING}"`',
            yellow=True,
        )
    if left_out["slow"]:
        terminalreporter.write_line(
            f"left out: {left_out['slow']} slow tests: run them with `tox -e slow`", yellow=True
        )
