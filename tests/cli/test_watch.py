"""`image-syncer watch` on the command line: what is wrong is said before anything begins."""

from __future__ import annotations

import pytest

from image_syncer_cli.main import main


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "images.json"
    path.write_text('{"127.0.0.1:1/team/app": "127.0.0.1:2/team/app"}')
    return str(path)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((), "Missing option '--every'"),
        (("--every", "soon"), "'soon' is not a duration"),
        (("--every", "* * * *"), "is no cron expression"),
        (("--every", "10m", "--jitter", "much"), "'much' is not a duration"),
        (("--every", "10m", "--rest", "0"), "0 is too small"),
        (("--every", "10m", "--listen", "here"), "no address to listen at"),
        (("--every", "10m", "--notify", "hooks.example/secret-path"), "it is no address of a webhook"),
        (("--every", "10m", "--notify-when", "never"), "'never' is not one of"),
        (("--every", "10m", "--dry-run"), "no such option: --dry-run"),
        (("--every", "10m", "--trust-state"), "give --state FILE"),
    ],
)
def test_what_is_wrong_with_an_option_is_said(capsys, rules, words, what) -> None:
    assert main(["watch", "--images", rules, *words]) == 2
    told = capsys.readouterr().err
    assert what in told
    assert "secret-path" not in told


def test_without_files_there_is_nothing_to_do(capsys) -> None:
    assert main(["watch", "--every", "10m"]) == 2
    assert "nothing to copy: give --images FILE" in capsys.readouterr().err


def test_files_with_mistakes_are_told_as_sync_tells_them(capsys, tmp_path) -> None:
    path = tmp_path / "images.json"
    path.write_text('{"127.0.0.1:1/team/app": ""}')
    assert main(["watch", "--every", "10m", "--images", str(path)]) == 2
    assert f"Error: {path}:1" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["short", "with a space in the middle of it", "naïve-token-of-many-characters"])
def test_a_token_that_is_none_is_refused_and_not_repeated(capsys, rules, tmp_path, token, monkeypatch) -> None:
    path = tmp_path / "token"
    path.write_text(f"{token}\n")
    assert main(["watch", "--every", "10m", "--images", rules, "--events-token-file", str(path)]) == 2
    monkeypatch.setenv("IMAGE_SYNCER_EVENTS_TOKEN", token)
    assert main(["watch", "--every", "10m", "--images", rules]) == 2
    told = capsys.readouterr().err
    assert told.count("has is no token of 16 characters or more without spaces") == 2
    assert "what IMAGE_SYNCER_EVENTS_TOKEN has" in told
    assert token not in told


def test_files_that_cannot_be_read_are_told(capsys, rules, tmp_path) -> None:
    gone = str(tmp_path / "gone")
    assert main(["watch", "--every", "10m", "--images", rules, "--events-token-file", gone]) == 2
    assert main(["watch", "--every", "10m", "--images", rules, "--notify-file", gone]) == 2
    assert capsys.readouterr().err.count(f"{gone} cannot be read: No such file or directory") == 2


def test_a_mistake_in_the_file_of_webhooks_is_told_with_its_line(capsys, rules, tmp_path) -> None:
    path = tmp_path / "hooks"
    path.write_text("https://hooks.example/a\nS3cretThatIsNoField\n")
    assert main(["watch", "--every", "10m", "--images", rules, "--notify-file", str(path)]) == 2
    told = capsys.readouterr().err
    assert f"{path}: line 2: it is neither an address nor a header field" in told
    assert "S3cret" not in told
