"""The user's mistakes, each as a stranger makes it: nothing is done, and a message of at most three lines says where it
is, what it is, and what to do.
"""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from cli.test_main import HEAVY
from support.bad_input import NAMES, Ended

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.conftest import Command
    from support.bad_input import Bench

ONE, OTHER = (f"sha256:{character * 64}" for character in "ab")
AUTH_JSON = ("--auth", "auth.json", "--images", "images.yaml")
OWN = ("--config", "own.yaml")
COPY = ("copy", "SOURCE/team/app:1", "DESTINATION/mirror/app")
LOGGED = (*NAMES, "--log", "run.log", "--report", "report.json")
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@dataclass(frozen=True)
class Mistake:
    """Files that replace good ones, the command's words, and what the message must hold."""

    name: str
    says: tuple[str, ...]
    words: tuple[str, ...] = LOGGED
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    problems: int = 1


def auth(name: str, text: str, *says: str) -> Mistake:
    return Mistake(name, says, files={"auth.yaml": text})


def images(name: str, text: str | bytes, *says: str) -> Mistake:
    return Mistake(name, says, files={"images.yaml": text})


def own(name: str, text: str, *says: str) -> Mistake:
    return Mistake(name, says, words=OWN, files={"own.yaml": text})


def words(name: str, given: tuple[str, ...], *says: str) -> Mistake:
    return Mistake(name, says, words=given)


ENTRY = '"SOURCE":\n  username: robot\n  password: SECRET\n'
RULE = "version: 2\nregistries:\n  SOURCE: {username: robot, password: SECRET}\nrules:\n- source: SOURCE/team/app\n"

FILES = [
    words(
        "no such file", ("--auth", "auth.yaml", "--images", "gone.yaml"), "gone.yaml: the file does not exist → check"
    ),
    words(
        "a directory", ("--auth", "docker", "--images", "images.yaml"), "docker: a directory, where a file is wanted"
    ),
    words(
        "not readable", ("--auth", "/proc/self/mem", "--images", "images.yaml"), "/proc/self/mem: the file cannot be"
    ),
    auth(
        "a tab", '"SOURCE":\n\tusername: robot\n\tpassword: SECRET\n', "auth.yaml:2:", "a tab", "→ indent with spaces"
    ),
    auth("indentation", f"{ENTRY}   insecure: true\n", "auth.yaml:", "column", "→ indent all keys of one block alike"),
    auth("a quote left open", '"SOURCE":\n  username: robot\n  password: "SECRET\n', "auth.yaml:3:", "→ close it"),
    auth("a colon in a password", f"{ENTRY.rstrip()}: x\n", "auth.yaml:3:", "put a value with “: ” in quotes"),
    auth("a password as a list", '"SOURCE":\n  password: [SECRET]\n', "auth.yaml:2 [SOURCE › password]", "→ write one"),
    auth("an entry without keys", '"SOURCE": SECRET\n', "auth.yaml:1 [SOURCE]", "→ write “key: value” lines"),
    auth("no flag", f"{ENTRY}  insecure: maybe\n", "auth.yaml:4 [SOURCE › insecure]", "→ write true or false"),
    auth(
        "variable not set",
        '"SOURCE":\n  username: robot\n  password: ${MIRROR_PASSWORD}\n',
        "auth.yaml:3 [SOURCE › password]: the environment variable MIRROR_PASSWORD is not set",
        "→ export MIRROR_PASSWORD=…",
    ),
    auth(
        "a dollar in a password", f"{ENTRY.rstrip()}$NOPE\n", "auth.yaml:3", "refers to an environment variable", "${"
    ),
    auth(
        "no such authority",
        f"{ENTRY}  ca_file: gone.pem\n",
        "auth.yaml:4",
        "gone.pem",
        "→ write the path of a PEM file",
    ),
    Mistake(
        "broken JSON",
        ("auth.json:2: not JSON: the end comes too early → close every { and [",),
        AUTH_JSON,
        {"auth.json": '{"SOURCE": {"username": "robot",\n"password": "SECRET"'},
    ),
    Mistake(
        "a comma too many",
        ("auth.json:2: not JSON: a comma after the last value → remove the comma",),
        AUTH_JSON,
        {"auth.json": '{"SOURCE": {"username": "robot",\n"password": "SECRET",}}'},
    ),
    Mistake(
        "a key twice in JSON",
        ("auth.json:3 [password]", "on line 2 and on line 3", "→ keep one of them"),
        AUTH_JSON,
        {"auth.json": '{"SOURCE": {"username": "robot",\n"password": "SECRET",\n"password": "SECRET"}}'},
    ),
    images("a key twice", "SOURCE/team/app:1: DESTINATION/a\n" * 2, "images.yaml:2", "on line 1 and on line 2", "→"),
    images("no rule", "{}\n", "images.yaml: there is no rule in it: nothing to copy"),
    images("an empty file", "", "images.yaml: the file is empty → write {}"),
    images("an anchor bomb", BOMB, "images.yaml:", "values, counting what aliases repeat → is it the right file?"),
    images("20 MB", b"# " + b"x" * 20_000_000, "images.yaml: the file has more than 16.0 MiB → is it the right file?"),
    images("binary", bytes(range(256)) * 40, "images.yaml:1: the file is binary", "→ is it the right file?"),
    images(
        "another encoding", "# é\na: b\n".encode("latin-1"), "images.yaml:1: the file is not UTF-8 → save it as UTF-8"
    ),
]

RULES = [
    images("bad expression", "SOURCE/team/app:/v(1/: DESTINATION/a\n", "images.yaml:1", "missing )", "→ see https://"),
    images("open expression", "SOURCE/team/app:/v1: DESTINATION/a\n", "images.yaml:1", "→ write repo:/expression/"),
    images(
        "tag counts differ",
        "SOURCE/team/app:1,2: DESTINATION/a:1\n",
        "images.yaml:1 [SOURCE/team/app:1,2]: the source has 2 tags, the destination 1 tag → write as many",
    ),
    images("tags for all tags", "SOURCE/team/app: DESTINATION/a:1\n", "images.yaml:1", "→ leave the tags out"),
    images(
        "digests differ",
        f"SOURCE/a@{ONE}: DESTINATION/a@{OTHER}\n",
        "images.yaml:1",
        "the digests differ",
        "→ a digest",
    ),
    images(
        "a digest and tags", f"SOURCE/a@{ONE}: DESTINATION/a:1,2\n", "images.yaml:1", "one digest", "2 tags", "→ write"
    ),
    images(
        "half a digest",
        "SOURCE/a@sha256:abcd: DESTINATION/a\n",
        "images.yaml:1",
        "→ write a digest as sha256:… in full",
    ),
    images("no destination", "SOURCE/team/app:1:\n", "images.yaml:1", "the destination is empty → write a repository"),
    images("an empty list", "SOURCE/team/app:1: []\n", "images.yaml:1", "the list is empty → write at least one item"),
    images("a mapping", "SOURCE/team/app:1: {to: DESTINATION/a}\n", "images.yaml:1", "a mapping", "→ write one text"),
    images(
        "variable not set", "SOURCE/team/app:1: ${MIRROR}/a\n", "images.yaml:1", "MIRROR is not set → export MIRROR="
    ),
    images("upper case", "SOURCE/team/App:1: DESTINATION/a\n", "images.yaml:1", "team/App", "write lower-case letters"),
    images(
        "a bad tag", "SOURCE/team/app:-1: DESTINATION/a\n", "images.yaml:1", "no usable tag: write up to 128 letters"
    ),
    images(
        "a blank in a tag", 'SOURCE/team/app:1: "DESTINATION/a: 2"\n', "images.yaml:1", "→ write tags without blanks"
    ),
    images("a URL", "http://SOURCE/team/app:1: DESTINATION/a\n", "images.yaml:1", "is a URL → leave out the scheme"),
    images("a password", "robot:SECRET@SOURCE/a: DESTINATION/a\n", "images.yaml:1", "go into the auth file"),
    images(
        "two rules for one tag",
        "SOURCE/team/app:1: DESTINATION/a:1\nSOURCE/team/other:1: DESTINATION/a:1\n",
        "images.yaml:2 [SOURCE/team/other:1]: DESTINATION/a:1 is also written from SOURCE/team/app:1 (images.yaml:1)",
        "→ give one of them another repository or tag",
    ),
    own(
        "unknown key", f"{RULE}  destinaton: DESTINATION/a\n", "own.yaml:6", "unknown key → did you mean “destination”?"
    ),
    own(
        "unknown key of a registry",
        f"{RULE.replace('password', 'pasword')}  destination: DESTINATION/a\n",
        "own.yaml:3 [registries › SOURCE › pasword]: unknown key → did you mean “password”?",
    ),
    own(
        "bad platform",
        f"{RULE}  destination: DESTINATION/a\n  platforms: [linux]\n",
        "own.yaml:7",
        "such as linux/amd64",
    ),
    own(
        "no version",
        "rules:\n- source: SOURCE/a\n  destination: DESTINATION/a\n",
        "own.yaml:1: ",
        "`version: 2` → write",
    ),
]

COMMAND_LINE = [
    words("nothing to copy", ("--auth", "auth.yaml"), "nothing to copy: give --images FILE (and --auth FILE)"),
    words(
        "two ways",
        ("--config", "auth.yaml", "--images", "images.yaml"),
        "--config was given together",
        "Use one or the",
    ),
    words("unknown option", (*LOGGED, "--retires", "1"), "no such option: --retires. Did you mean --retries?"),
    words("unknown verb", ("cpoy", *COPY[1:]), "no such verb: cpoy. Did you mean copy?"),
    words("a word too many", ("sync", "images.yaml"), "unexpected extra argument (images.yaml)", "--help"),
    words("no value", (*NAMES, "--report"), "'--report' requires an argument", "--help"),
    words("workers", (*LOGGED, "--workers", "-3"), "'--workers': -3 is too small: it must be 1 or more"),
    words(
        "too many workers", (*LOGGED, "--workers", "1000000"), "'--workers': it is too large: it must be 1,024 or less"
    ),
    words("proc", (*LOGGED, "--proc", "1.5"), "'--proc': '1.5' is not a whole number"),
    words("digits without end", (*LOGGED, "--proc", "9" * 5000), "'--proc': '99999", "is not a whole number"),
    words("retries", (*LOGGED, "--retries", "-1"), "'--retries': -1 is too small: it must be 0 or more"),
    words("window", (*LOGGED, "--window", "-1"), "'--window': '-1' is not a size", "such as 512KiB"),
    words("deadline", (*LOGGED, "--deadline", "noon"), "'--deadline': 'noon' is not a duration", "for example 30s"),
    words("no time", (*LOGGED, "--deadline", "0s"), "'--deadline': it must be more than nothing, and a year at most"),
    words("memory", (*LOGGED, "--memory", "lots"), "'--memory': 'lots' is not a size", "such as 512KiB"),
    words(
        "too little memory", (*LOGGED, "--memory", "1KiB"), "--memory", "1.0 KiB is too little → give at least 64.0 KiB"
    ),
    words("a platform as arch", (*LOGGED, "--arch", "linux/amd64"), "write --os linux --arch amd64"),
    words("half a platform", (*COPY, "--platform", "linux"), "[--platform]: 'linux' is not a platform", "linux/amd64"),
    words("platform turned round", (*COPY, "--platform", "amd64/linux"), "begins with an architecture", "linux/amd64"),
    words(
        "bad source", ("copy", "SOURCE/team/App:1", "DESTINATION/a"), "[SRC]:", "team/App", "write lower-case letters"
    ),
    words("password in a source", ("copy", "http://robot:SECRET@SOURCE/a", "DESTINATION/a"), "[SRC]:", "the auth file"),
    words(
        "report nowhere",
        (*LOGGED, "--report", "gone/r.json"),
        "the report cannot be written to gone/r.json",
        "Give --report",
    ),
    words(
        "report is a folder",
        (*LOGGED, "--report", "docker"),
        "written to docker: it is a folder",
        "Give --report a file",
    ),
    words("report without a name", (*LOGGED, "--report", ""), "'--report': the name of the file is empty"),
    words(
        "log nowhere",
        (*LOGGED, "--log", "gone/run.log"),
        "the log cannot be written to gone/run.log",
        "Give --log a file",
    ),
    words(
        "list nowhere",
        (*LOGGED, "--output-success-images", "gone/x"),
        "written to gone/x",
        "Give --output-success-images",
    ),
]


def test_there_are_at_least_thirty_kinds() -> None:
    names = [mistake.name for mistake in (*FILES, *RULES, *COMMAND_LINE)]
    assert len(names) >= 30


@pytest.mark.parametrize("mistake", [*FILES, *RULES, *COMMAND_LINE], ids=lambda mistake: mistake.name)
def test_a_mistake_is_told_before_anything_is_done(
    bench: Bench, mistake: Mistake, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, since there are many of them; what only a process of its own has is in the tests below."""
    bench.write(mistake.files)
    monkeypatch.chdir(bench.directory)
    for name, value in bench.variables().items():
        monkeypatch.setenv(name, value)
    ran = command(*map(bench.fill, mistake.words))
    ended = Ended(ran.code, ran.out, ran.err, 0.0)
    assert (ended.code, ended.out) == (2, "")
    ended.assert_told(*map(bench.fill, mistake.says))
    assert ended.lines[0].startswith("Error: ")
    bench.assert_nothing_asked()
    bench.assert_no_secret(ended)
    assert not list(bench.directory.glob("report*"))


def test_a_link_that_leads_nowhere(bench: Bench) -> None:
    (bench.directory / "link.yaml").symlink_to("gone.yaml")
    ended = bench.run("--auth", "link.yaml", "--images", "images.yaml")
    assert ended.code == 2
    ended.assert_told("link.yaml: the file does not exist → check the path")


@pytest.mark.parametrize(
    ("name", "mode", "given", "says"),
    [
        ("auth.yaml", 0o000, (), "auth.yaml: the file may not be read by this user → chmod or chown it"),
        ("run.log", 0o444, (), "the log cannot be written to run.log: Permission denied"),
        (
            "docker",
            0o555,
            ("--report", "docker/r.json"),
            "the report cannot be written to docker/r.json: Permission denied",
        ),
    ],
)
def test_what_belongs_to_somebody_else(bench: Bench, name: str, mode: int, given: tuple[str, ...], says: str) -> None:
    bench.unprivileged = True
    path = bench.directory / name
    if not path.exists():
        path.touch()
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        ended = bench.run(*LOGGED, *given)
    finally:
        path.chmod(before)
    assert ended.code == 2
    ended.assert_told(says)
    bench.assert_nothing_asked()
    bench.assert_no_secret(ended)


def test_an_unknown_key_of_the_go_tool_is_a_warning_and_the_run_goes_on(bench: Bench) -> None:
    bench.write(
        {"auth.yaml": '"SOURCE": {usrname: robot, password: SECRET, insecure: true}\n"DESTINATION": {insecure: true}\n'}
    )
    ended = bench.sync("--no-progress")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("1 image: 1 copied")
    first = bench.fill(
        "Warning: auth.yaml:1 [SOURCE › usrname]: unknown key, it has no effect → did you mean “username”?"
    )
    assert ended.lines[0] == first
    bench.assert_no_secret(ended)


def test_every_mistake_is_told_at_once_and_the_same_by_config_check(bench: Bench) -> None:
    bench.write(
        {
            "auth.yaml": '"SOURCE":\n  username: robot\n  password: [SECRET]\n  insecure: maybe\n',
            "images.yaml": "SOURCE/a:1,2: DESTINATION/a:1\nSOURCE/A:1: DESTINATION/a\nSOURCE/b:/(/: DESTINATION/b\n",
        }
    )
    places = [
        f"{file}:{line} " for file, line in zip(["auth.yaml"] * 2 + ["images.yaml"] * 3, (3, 4, 1, 2, 3), strict=True)
    ]
    run, check = bench.run(*LOGGED), bench.run("config", "check", *NAMES)
    assert (run.code, check.code) == (2, 2)
    told = [line.removeprefix("Error: ") for line in run.lines]
    assert [line.startswith(place) for line, place in zip(told, places, strict=False)] == [True] * 5
    assert told[5:] == ["5 problems; nothing was copied."]
    assert check.out.splitlines() == [*told[:5], "5 problems · no warnings"]
    for ended in (run, check):
        bench.assert_no_secret(ended)
    bench.assert_nothing_asked()


def test_beside_mistakes_a_warning_is_called_one(bench: Bench) -> None:
    bench.write({"auth.yaml": '"SOURCE": {usrname: robot, insecure: maybe}\n'})
    ended = bench.run(*LOGGED)
    assert ended.code == 2
    assert [line.partition(" ")[0] for line in ended.lines] == ["Error:", "Warning:"]


def test_debug_shows_where_and_no_secret(bench: Bench) -> None:
    bench.write({"auth.yaml": '"SOURCE": {username: robot, password: SECRET, insecure: maybe}\n'})
    ended = bench.run(*LOGGED, "--debug")
    assert ended.code == 2
    assert "Traceback (most recent call last)" in ended.err
    assert ended.lines[-1].startswith("Error: auth.yaml:1 ")
    bench.assert_no_secret(ended)


@pytest.mark.parametrize(("given", "code"), [(("--help",), 0), (("sync", "--help"), 0), (("--retires", "1"), 2)])
def test_help_and_a_wrong_option_answer_at_once(bench: Bench, given: tuple[str, ...], code: int) -> None:
    """In processor time, which other work on the machine does not lengthen as it does that of the clock."""
    runs = [bench.run(*given) for _ in range(5)]
    assert {run.code for run in runs} == {code}
    assert statistics.median(run.cpu_s for run in runs) < 0.3
    imported = {line.rpartition("|")[2].strip() for line in bench.run(*given, options=["-X", "importtime"]).lines}
    assert "image_syncer_cli.main" in imported
    assert imported.isdisjoint(HEAVY)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")  # noqa: PTH110
@pytest.mark.parametrize("option", ["--report", "--log", "--output-success-images"])
def test_a_full_disk_does_not_stop_the_copying(bench: Bench, option: str) -> None:
    ended = bench.sync("--no-progress", option, "/dev/full")
    assert ended.code == (0 if option == "--log" else 1)
    assert ended.out.startswith("1 image: 1 copied")
    assert ended.err.count("No space left on device") == 1
    assert len(ended.lines) == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_mistake(bench: Bench, closed: str) -> None:
    ended = bench.run(*NAMES, "--no-progress", redirected=closed)
    assert (ended.code, ended.err) == (0, "")
    assert bench.destination.counters.values().count("put manifest") == 1
