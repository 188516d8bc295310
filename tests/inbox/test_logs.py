from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from typing import TYPE_CHECKING

from ehlo.inbox.logs import JsonFormatter, log_json_to_stderr

if TYPE_CHECKING:
    import pytest


def record(text: str, *args: object, exc_info: object = None) -> logging.LogRecord:
    return logging.LogRecord("ehlo.smtp", logging.WARNING, __file__, 1, text, args, exc_info)  # type: ignore[arg-type]


def test_a_record_is_one_line_of_json() -> None:
    line = JsonFormatter().format(record("session %s: \x1b[31m\n%s", "s-1", "ü\udcff"))
    assert "\n" not in line
    assert line.isascii()
    found = json.loads(line)
    assert found["message"] == "session s-1: \x1b[31m\nü\udcff"
    assert (found["level"], found["logger"]) == ("warning", "ehlo.smtp")
    assert datetime.fromisoformat(found["time"]).tzinfo is not None


def test_a_traceback_is_in_it() -> None:
    try:
        raise ZeroDivisionError("why")
    except ZeroDivisionError:
        line = JsonFormatter().format(record("failed", exc_info=sys.exc_info()))
    assert "ZeroDivisionError: why" in json.loads(line)["traceback"]


def test_it_is_set_up_where_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    before = logging.getLogger("ehlo").level
    try:
        log_json_to_stderr(logging.INFO)
        (handler,) = root.handlers
        assert isinstance(handler.formatter, JsonFormatter)
    finally:
        logging.getLogger("ehlo").setLevel(before)
