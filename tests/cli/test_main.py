"""The one place where an error becomes an exit code, and everything that is said before a verb runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import image_syncer
import image_syncer_cli
from image_syncer.errors import AuthenticationError, ConfigurationError, Origin, Problem

if TYPE_CHECKING:
    from cli.conftest import Command, FakeEngine, Files

SOURCE_ROOTS = os.pathsep.join(
    str(Path(package.__file__ or "").parents[1]) for package in (image_syncer, image_syncer_cli)
)


def run(*words: str, code: str = "", **options: object) -> subprocess.CompletedProcess[str]:
    program = ["-c", code] if code else ["-m", "image_syncer_cli"]
    return subprocess.run(
        [sys.executable, *program, *words],
        env={**os.environ, "PYTHONPATH": SOURCE_ROOTS, "COLUMNS": "110"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def test_help_names_the_verbs_and_the_old_flags(command: Command) -> None:
    for option in ("--help", "-h"):
        ran = command(option)
        assert (ran.code, ran.err) == (0, "")
        assert "\n  image-syncer demo  " in ran.out
        for word in (
            "sync",
            "copy",
            "config",
            "registry",
            "demo",
            "--auth",
            "--images",
            "-p, --proc",
            "--force",
        ):
            assert word in ran.out


def test_no_words_at_all_is_a_mistake_that_shows_the_help(command: Command) -> None:
    ran = command()
    assert ran.code == 2
    assert "Usage: image-syncer" in ran.out


def test_the_version(command: Command) -> None:
    ran = command("--version")
    assert ran.code == 0
    assert ran.out == f"image-syncer {image_syncer.__version__}\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--imges", "x"], "no such option: --imges. Did you mean --images?"),
        (["sync", "--arhc", "x"], "no such option: --arhc. Did you mean --arch?"),
        (["copy", "a", "b", "--platfrom", "x"], "no such option: --platfrom. Did you mean --platform?"),
        (["--zzzzzzzz"], "no such option: --zzzzzzzz."),
        (["--versoin"], "no such option: --versoin. Did you mean image-syncer --version?"),
        (["copy", "--version"], "no such option: --version. Did you mean image-syncer --version?"),
        (["snyc"], "no such verb: snyc. Did you mean sync?"),
        (["config", "chekc"], "no such verb: config chekc. Did you mean check?"),
        (["schema"], "no such verb: schema. Did you mean config schema?"),
        (["xyzzy"], "no such verb: xyzzy."),
        (["sync", "--deep"], "no such option: --deep. It is an option of verify."),
        (["sync", "--recrds", "f"], "no such option: --recrds."),
        (["sync", "--format", "ocl"], "'ocl' is not one of 'keep', 'oci', 'docker'. Did you mean oci?"),
        (["sync", "--format=ocl"], "Did you mean oci?"),
        (["completion", "bsh"], "Did you mean bash?"),
        # What deletes is never run, nor taken, for a word that only begins like it.
        (["prun", "--images", "x"], "no such verb: prun. Did you mean prune?"),
        (["sync", "--images", "x", "--prun"], "no such option: --prun. Did you mean --prune?"),
        (["prune", "--images", "x", "--ye"], "no such option: --ye. Did you mean --yes?"),
        (["--auth", "a"], "nothing to copy: give --images FILE (and --auth FILE), or --config FILE."),
        (["copy", "a"], "Missing argument 'DST'."),
        (["--proc", "0", "--images", "x"], "'--proc': 0 is too small: it must be 1 or more."),
        (["--proc", "many", "--images", "x"], "'--proc': 'many' is not a whole number."),
        (["--memory", "lots", "--images", "x"], "'lots' is not a size: write a number with a unit"),
        (["--window", "0", "--images", "x"], "it must be more than nothing."),
        (["--output-images-format", "xml"], "'xml' is not one of 'yaml', 'json'."),
        (["--records", "f", "--images", "x"], "--records is no longer there. The destination is asked"),
        (["--registry=r", "--config", "x"], "--registry is no longer there. Write the whole destination"),
        (["--namespace", "n"], "--namespace is no longer there. Write the whole destination"),
        (["registry", "--root", "d", "--memory"], "--root keeps content in a folder and --memory does not"),
        (["registry", "--listen", "5000"], "'5000' is not HOST:PORT; write for example 127.0.0.1:5000"),
        (["config", "check"], "nothing to check: give --auth FILE and --images FILE"),
    ],
)
def test_a_usage_error_says_what_to_write(command: Command, words: list[str], error: str) -> None:
    ran = command(*words)
    assert (ran.code, ran.out) == (2, "")
    first, second = ran.err.splitlines()
    assert first.startswith("Error: ")
    assert error in first
    assert second.startswith("  Try 'image-syncer")


def test_each_problem_of_the_files_is_one_line(command: Command, files: Files, engine: FakeEngine) -> None:
    engine.error = ConfigurationError(
        [Problem("a.yaml", 3, "k", "is wrong", "write k"), Problem("b.yaml", None, None, "is gone")]
    )
    ran = command(*files.words)
    assert ran.code == 2
    assert ran.err.splitlines() == [
        "Error: a.yaml:3 [k]: is wrong → write k",
        "Error: b.yaml: is gone",
        "2 problems; nothing was copied.",
    ]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            AuthenticationError("not accepted", origin=Origin.DESTINATION, repository="r/x", hint="Check."),
            1,
            "Error: destination r/x: not accepted\n  Check.\n",
        ),
        (ConfigurationError("no", hint="Do."), 2, "Error: no\n  Do.\n"),
        (PermissionError(13, "Permission denied", "a.json"), 1, "Error: a.json: Permission denied\n"),
        (KeyboardInterrupt(), 130, "\nInterrupted.\n"),
        (
            ZeroDivisionError("token=hunter2hunter2"),
            70,
            (
                "Error: this is an internal error of image-syncer: ZeroDivisionError: token=…\n"
                "  Please run it again with --debug, and report what it prints.\n"
            ),
        ),
    ],
)
def test_an_error_becomes_three_lines_and_an_exit_code(
    command: Command, files: Files, engine: FakeEngine, error: BaseException, code: int, text: str
) -> None:
    engine.error = error
    ran = command(*files.words)
    assert (ran.code, ran.err, ran.out) == (code, text, "")


def test_debug_shows_where_without_secrets(command: Command, files: Files, engine: FakeEngine) -> None:
    engine.error = ZeroDivisionError("password=hunter2hunter2")
    ran = command(*files.words, "--debug")
    assert ran.code == 70
    assert "Traceback (most recent call last)" in ran.err
    assert "hunter2" not in ran.err


def test_a_reader_of_the_help_that_has_gone_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "image_syncer_cli", "--help"],
            env={**os.environ, "PYTHONPATH": SOURCE_ROOTS},
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_terminal_that_cannot_say_it_gets_the_rest() -> None:
    code = "import sys; from image_syncer_cli.display.output import forgive, say; forgive(sys.stdout); say('a → b')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": SOURCE_ROOTS, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == b"a ? b\n"


HEAVY = (
    *("image_syncer.oci", "image_syncer.config", "image_syncer.coordinator", "image_syncer.embedded"),
    *("pycurl", "uvloop", "orjson", "structlog", "yaml", "rich", "aiohttp", "asyncio", "multiprocessing"),
    *("importlib.metadata", "ssl", "http.client", "logging.config"),
)
COUNT_IMPORTS = f"""
import sys
from image_syncer_cli.main import main
code = main(sys.argv[1:])
heavy = [name for name in {HEAVY!r} if name in sys.modules]
sys.stderr.write(f"\\n{{code}} {{heavy}}")
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--help"], 0), (["sync", "--help"], 0), (["demo", "-h"], 0), (["--imges", "x"], 2), (["snyc"], 2)],
)
def test_help_and_a_wrong_option_load_nothing_heavy(words: list[str], code: int) -> None:
    """They answer in well under 0.3 s, which no clock has to prove: what costs time is what is imported."""
    assert run(*words, code=COUNT_IMPORTS).stderr.splitlines()[-1] == f"{code} []"


def test_importing_the_engine_loads_no_room() -> None:
    code = "import image_syncer, sys; print([name for name in sys.modules if name.startswith('image_syncer.')])"
    assert run(code=code).stdout.strip() == "[]"


def test_a_strange_expression_brings_no_warning_of_python(tmp_path: Path) -> None:
    images = tmp_path / "images.yaml"
    images.write_text('"a.io/x:/[a+--]/": b.io/x\n')
    (tmp_path / "auth.yaml").write_text("{}")
    done = run("config", "check", "--auth", str(tmp_path / "auth.yaml"), "--images", str(images))
    assert (done.returncode, done.stderr) == (0, "")
