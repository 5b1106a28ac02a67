from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest

from image_syncer.errors import ConfigurationError
from image_syncer.telemetry import configure_logging, get_logger, logs
from image_syncer.telemetry.log_lines import MOST_CHARS, MOST_ITEMS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "hunter2hunter2"


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    yield
    logging.getLogger().removeHandler(logs._bridge)
    for sink in logs._sinks:
        sink.close()
    logs._sinks.clear()


def test_nothing_is_written_before_logging_is_configured(capsys: pytest.CaptureFixture[str]) -> None:
    get_logger("early").error("unheard")
    assert capsys.readouterr() == ("", "")


def test_a_logger_made_before_the_configuration_obeys_it() -> None:
    logger, stream = get_logger("early"), io.StringIO()
    logger.error("unheard")
    configure_logging(stream=stream)
    logger.error("heard", digest="sha256:1")
    assert "heard" in stream.getvalue()
    assert "digest=sha256:1" in stream.getvalue()
    assert "unheard" not in stream.getvalue()


def test_levels_are_kept_and_the_file_gets_everything(tmp_path: Path) -> None:
    stream, path = io.StringIO(), tmp_path / "run.log"
    path.write_text("before\n")
    configure_logging(level="error", log_file=str(path), stream=stream)
    logger = get_logger("net")
    for level in logs.LOG_LEVELS:
        getattr(logger, level)(f"a {level}")
    assert [line.split()[-2] for line in stream.getvalue().splitlines()] == ["error"]
    assert path.read_text().splitlines()[0] == "before"
    assert [line.split()[-2] for line in path.read_text().splitlines()[1:]] == list(logs.LOG_LEVELS)


def test_json_is_one_object_a_line_with_tracebacks_inside() -> None:
    stream = io.StringIO()
    configure_logging(log_format="json", level="debug", stream=stream)
    try:
        int(f"password={SECRET}")
    except ValueError:
        get_logger("net").exception("broken", tries=2, none=None)
    [line] = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"], event["logger"], event["tries"]) == ("broken", "error", "net", 2)
    assert event["none"] is None
    assert "ValueError" in event["exception"]
    assert SECRET not in line


@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.parametrize(
    "fields",
    [
        {"url": f"https://user:{SECRET}@host/v2/"},
        {"url": f"https://host/blob?X-Amz-Signature={SECRET}"},
        {"header": f"Bearer {SECRET}"},
        {"Authorization": SECRET},
        {"token": SECRET},
        {"deep": {"list": [{"password": SECRET}, f"password={SECRET}"]}},
        {"raw": f"token={SECRET}".encode()},
        {"error": ValueError(f"Authorization: Basic {SECRET}")},
    ],
)
def test_no_secret_is_logged(log_format: str, fields: dict[str, object]) -> None:
    stream = io.StringIO()
    configure_logging(log_format=log_format, stream=stream)
    get_logger("net").warning("something", **fields)
    assert "something" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_a_value_that_holds_itself_is_no_trap() -> None:
    stream, loop = io.StringIO(), []
    loop.append(loop)
    configure_logging(stream=stream)
    get_logger("net").warning("round", loop=loop)
    assert "round" in stream.getvalue()


def test_a_line_is_bounded_whatever_somebody_else_has_written() -> None:
    stream = io.StringIO()
    configure_logging(log_format="json", stream=stream)
    # The cut would go through the middle of the secret.
    text = "a" * (MOST_CHARS // 2 - 12) + f" password={SECRET} " + "b" * 10**6 + "the end"
    get_logger("test").warning("worker output", text=text, many=list(range(10**5)), fields={"x" * 10: text})
    line = stream.getvalue()
    assert len(line) < 4 * MOST_CHARS
    assert SECRET[:6] not in line
    told = json.loads(line)
    assert told["text"].endswith("the end")
    assert len(told["many"]) == MOST_ITEMS


def test_what_json_has_no_number_for_is_text() -> None:
    stream = io.StringIO()
    configure_logging(log_format="json", stream=stream)
    get_logger("test").warning("registry is paced", rates=[float("inf"), float("nan"), 1.5], **{"a\x1b[2J\n": 1})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    [line] = stream.getvalue().splitlines()
    assert json.loads(line, parse_constant=refuse)["rates"] == ["inf", "nan", 1.5]


def test_other_libraries_go_the_same_way() -> None:
    stream = io.StringIO()
    configure_logging(log_format="json", stream=stream)
    logging.getLogger("aiohttp.server").warning("seen %s", f"https://u:{SECRET}@h/")
    logging.getLogger("aiohttp.server").info("not seen")
    [event] = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (event["logger"], event["event"]) == ("aiohttp.server", "seen https://…@h/")


def test_colors_only_where_they_are_wanted() -> None:
    for colors in (False, True):
        stream = io.StringIO()
        configure_logging(stream=stream, colors=colors)
        get_logger("net").warning("hello")
        assert ("\x1b[" in stream.getvalue()) is colors


def test_a_reader_that_has_gone_does_not_stop_the_run() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    configure_logging(stream=Gone())
    get_logger("net").error("once")
    get_logger("net").error("twice")
    assert logs._sinks[0].level > max(logs.LOG_LEVELS.values())


def test_a_log_on_a_full_disk_is_told_once_by_the_others() -> None:
    stream = io.StringIO()
    configure_logging(log_format="json", stream=stream, log_file="/dev/full")
    get_logger("net").error("first")
    get_logger("net").error("second")
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert sorted(events) == ["a log cannot be written any more", "first", "second"]


def test_a_log_that_cannot_be_opened_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the log cannot be written to"):
        configure_logging(log_file=str(tmp_path / "gone" / "run.log"))


def test_standard_error_is_looked_up_at_each_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A live display puts itself in the place of `sys.stderr` and goes away again."""
    configure_logging()
    display = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", display)
        get_logger("net").error("above the display")
    get_logger("net").error("after the display")
    assert "above the display" in display.getvalue()
    assert "after the display" in capsys.readouterr().err
