"""Shells complete verbs, options, choices and files, at once: asked of the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import image_syncer
import image_syncer_cli
from cli.test_main import HEAVY

if TYPE_CHECKING:
    from cli.conftest import Command

ROOTS = os.pathsep.join(str(Path(package.__file__ or "").parents[1]) for package in (image_syncer, image_syncer_cli))

# As readline calls it: the words, the one to complete, and the function of `complete -F`. `compopt` notes its options.
ASK_BASH = """
source <(image-syncer completion bash)
complete -p image-syncer > /dev/null || exit 9
compopt() { printf '%s\\n' "<$2>"; }
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_image_syncer_completion image-syncer "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
# A shell of its own on a pseudo-terminal, into which the line and a tab are typed.
ASK_ZSH = """
zmodload zsh/zpty
zpty shell env TERM=dumb PS1=ready: zsh -f -i
expect() {
    local heard= part
    repeat 1200; do
        if zpty -r -t shell part; then heard+=$part; else sleep 0.05; fi
        [[ $heard == *$1* ]] && return
    done
    print -r -- "$heard"
    exit 9
}
expect ready:
zpty -w shell 'autoload -U compinit; compinit -u -D; source <(image-syncer completion zsh); print set-up-is-"done"'
expect 'set-up-is-done'
zpty -w -n shell "$1"$'\\t'
expect "$2"
zpty -d shell
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """In which the command is found by its name, as after an installation."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "image-syncer"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m image_syncer_cli "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": ROOTS}


def ask(environment: dict[str, str], *words: str) -> list[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK_BASH, "bash", "image-syncer", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["s"], ["status", "sync"]),
        (["config", "c"], ["check", "convert"]),
        (["sync", "--form"], ["--format"]),
        (["sync", "--format", "o"], ["oci"]),
        (["sync", "--format", "=", "o"], ["oci"]),
        (["sync", "--format", "="], ["keep", "oci", "docker"]),
        (["sync", "--on-conflict", "b"], ["backup"]),
        (["--au"], ["--auth"]),
        (["--auth", "a.yaml", "--imag"], ["--images"]),
        (["--auth", ""], ["<default>"]),
        (["status", "jour"], ["<default>"]),
        (["export", ""], ["<dirnames>"]),
        (["completion", "z"], ["zsh"]),
        (["logout", "--auth"], ["--authfile"]),
        (["config", "schema", ""], ["--path", "--debug", "--help"]),
        (["sync", "--records"], []),
    ],
    ids=" ".join,
)
def test_bash_completes(environment: dict[str, str], words: list[str], expected: list[str]) -> None:
    assert ask(environment, *words) == expected


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not on this machine")
@pytest.mark.parametrize(("line", "expected"), [("image-syncer --ima", "--images"), ("image-syncer exp", "export")])
def test_zsh_completes(environment: dict[str, str], line: str, expected: str) -> None:
    subprocess.run(["zsh", "-f", "-c", ASK_ZSH, "zsh", line, expected], env=environment, timeout=120, check=True)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not on this machine")
def test_fish_completes(environment: dict[str, str], tmp_path: Path) -> None:
    asked = "image-syncer completion fish | source; complete --do-complete 'image-syncer sync --form'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", asked],
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == ["--format"]


def test_an_answer_loads_nothing_heavy(environment: dict[str, str]) -> None:
    """It takes some 0.1 s, which no clock has to prove: what costs time is what is imported."""
    code = (
        "import sys; from image_syncer_cli.main import main\n"
        "try: main([])\n"
        f"finally: print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    asked = {"_IMAGE_SYNCER_COMPLETE": "bash_complete", "COMP_WORDS": "image-syncer\nsync\n--fo", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == ["plain,--foreign-layers", "plain,--format", "plain,--force", "[]"]


def test_the_script_is_printed_where_the_shell_is_not(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for shell in ("bash", "zsh", "fish"):
        ran = command("completion", shell)
        assert (ran.code, ran.err) == (0, "")
        assert f"_IMAGE_SYNCER_COMPLETE={shell}_complete" in ran.out
