"""What holds for every test: steady property tests, and one line that says what was left out, and why."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_left_out] = {"slow": 0, "real": 0}


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        if "slow" in item.keywords:
            item.config.stash[_left_out]["slow"] += 1


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    left_out = session.config.stash[_left_out]
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
    if left_out["slow"]:
        terminalreporter.write_line(
            f"left out: {left_out['slow']} slow tests: run them with `tox -e slow`", yellow=True
        )
