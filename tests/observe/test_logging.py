import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.observe.logging import make_logger


def written(style, act, level="debug"):
    stream = io.StringIO()
    act(make_logger(style, level, stream))
    return stream.getvalue()


def test_a_json_line_has_time_level_event_and_the_fields():
    line = written("json", lambda log: log.bind(message_id="m1").info("delivered", attempts=2))
    record = json.loads(line)
    assert record.pop("time").endswith("Z")
    assert record == {"level": "info", "event": "delivered", "message_id": "m1", "attempts": 2}


def test_bound_fields_do_not_leak_into_the_logger_they_came_from():
    def act(log):
        log.bind(message_id="m1")
        log.info("started")

    assert "message_id" not in written("json", act)


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["a", "b", "c", "d"]),
        ("info", ["b", "c", "d"]),
        ("warning", ["c", "d"]),
        ("error", ["d"]),
    ],
)
def test_lines_below_the_level_are_not_written(level, events):
    def act(log):
        log.debug("a")
        log.info("b")
        log.warning("c")
        log.error("d")

    lines = written("json", act, level).splitlines()
    assert [json.loads(line)["event"] for line in lines] == events


@given(st.text(), st.sampled_from(["json", "console"]))
def test_an_event_is_one_printable_line_whatever_comes_from_outside(text, style):
    line = written(style, lambda log: log.info("refused", helo=text))
    assert line.endswith("\n")
    assert "\n" not in line[:-1]
    assert "\r" not in line
    assert "\x1b" not in line


@given(st.text())
def test_json_gives_back_what_was_said(text):
    line = written("json", lambda log: log.info("refused", helo=text))
    assert json.loads(line)["helo"] == text


def test_octets_that_are_no_text_do_not_lose_the_line():
    line = written("json", lambda log: log.info("refused", helo="caf\udce9", octets=b"\xff", n=1))
    record = json.loads(line)
    assert record["event"] == "refused"
    assert record["n"] == 1


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_shows_no_values_of_variables(style):
    def act(log):
        password = "correct horse"
        try:
            raise ValueError("the cause" if password else "")
        except ValueError:
            log.exception("a session failed")

    text = written(style, act)
    assert "ValueError: the cause" in text
    assert "correct horse" not in text


def test_a_stream_that_is_gone_does_not_stop_the_relay():
    stream = io.StringIO()
    log = make_logger("json", "info", stream)
    stream.close()
    log.info("delivered")


class FullDisk(io.StringIO):
    def write(self, _text):
        raise OSError(28, "No space left on device")


def test_a_full_disk_under_the_log_does_not_stop_the_relay():
    make_logger("json", "info", FullDisk()).info("delivered")


def test_the_console_has_colours_only_on_a_terminal():
    assert "\x1b" not in written("console", lambda log: log.warning("slow"))
