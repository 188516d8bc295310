"""The log as JSON, one object a line, for programs that read it.  Knows records of ``logging``, not who reads."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any


class JsonFormatter(logging.Formatter):
    """Time, level, logger and text of a record; a traceback is one string in it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, of ASCII: what peers sent is escaped in it."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def log_json_to_stderr(level: int) -> None:
    """What ``ehlo.net.foreground.log_to_stderr`` does, in JSON."""
    logging.getLogger("ehlo").setLevel(level)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
