"""A thread that runs a server; as controllers have it, it is tested in tests/test_controller.py."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from ehlo.net.thread import ServerThread
from tests.net.support import smtp

if TYPE_CHECKING:
    from ehlo import SMTPServer


def test_each_start_makes_a_server_of_its_own() -> None:
    made: list[SMTPServer] = []

    def make() -> SMTPServer:
        made.append(smtp())
        return made[-1]

    thread = ServerThread(make)
    for number in (1, 2):
        thread.start(5)
        server = thread.server
        assert server is made[-1]
        assert server.is_serving
        thread.stop()
        assert len(made) == number
    assert thread.server is None
    assert not [each for each in threading.enumerate() if each.name == "ehlo-controller"]


def test_what_cannot_be_made_is_raised_where_it_is_started() -> None:
    def fail() -> SMTPServer:
        raise LookupError("no server")

    thread = ServerThread(fail)
    with pytest.raises(LookupError, match="no server"):
        thread.start(5)
    thread.stop()
