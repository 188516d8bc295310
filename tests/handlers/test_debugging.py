from __future__ import annotations

import argparse
import io
import sys
from typing import Any

import pytest

from ehlo import SMTP, serve
from ehlo.handlers import Debugging, Sink
from ehlo.session import Envelope, Session
from tests.handlers.support import CONTENT, parser_error, send

PEER = ("192.0.2.1", 4711)


def shown(content: bytes, maybe_stream: io.StringIO | None = None, **facts: Any) -> str:
    """What is printed of a message."""
    stream = maybe_stream or io.StringIO()
    envelope = Envelope()
    envelope.content = content
    for name, value in facts.items():
        setattr(envelope, name, value)
    handler = Debugging(stream)
    handler.handle_DATA(SMTP(handler), Session(PEER), envelope)
    return stream.getvalue()


def test_a_message_is_shown_between_two_rulers_with_its_peer() -> None:
    assert shown(b"Subject: x\r\nTo: y\r\n\r\nHello\r\n\r\nBye\r\n") == (
        "---------- MESSAGE FOLLOWS ----------\n"
        "Subject: x\n"
        "To: y\n"
        "X-Peer: ('192.0.2.1', 4711)\n"
        "\n"
        "Hello\n"
        "\n"
        "Bye\n"
        "------------ END MESSAGE ------------\n"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ""),
        (b"Subject: x\r\n", "Subject: x\n"),
        (b"Subject: x\r\n\r\n", "Subject: x\nX-Peer: ('192.0.2.1', 4711)\n\n"),
        (b"\r\nno header\r\n", "X-Peer: ('192.0.2.1', 4711)\n\nno header\n"),
        (b"no end of line", "no end of line\n"),
        (b"Subject: \xff\r\n", "Subject: \N{REPLACEMENT CHARACTER}\n"),
    ],
)
def test_any_content_can_be_shown(content: bytes, message: str) -> None:
    _, _, after = shown(content).partition(" FOLLOWS ----------\n")
    assert after == message + "------------ END MESSAGE ------------\n"


def test_the_parameters_are_shown_above_the_message() -> None:
    text = shown(b"Subject: x\r\n", mail_options=["SIZE=10"], rcpt_options=["NOTIFY=NEVER"])
    assert "FOLLOWS ----------\nmail options: ['SIZE=10']\nrcpt options: ['NOTIFY=NEVER']\n\nSubject: x\n" in text


class OneWrite(io.StringIO):
    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def test_a_message_is_written_at_once_so_that_two_do_not_mix() -> None:
    stream = OneWrite()
    shown(b"Subject: x\r\n\r\nHello\r\n", stream)
    assert stream.writes == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_message_cannot_command_the_terminal() -> None:
    content = "Subject: \x1b]0;owned\x07\r\n\r\n\x9b2Jtab\tbell\rback\r\n".encode()
    assert "Subject: \\x1b]0;owned\\x07\nX-Peer" in shown(content, Terminal())
    assert "\\x9b2Jtab\tbell\\x0dback\n" in shown(content, Terminal())
    assert "\x9b2Jtab\tbell\rback\n" in shown(content)


def test_a_narrow_stream_shows_what_it_can() -> None:
    octets = io.BytesIO()
    envelope = Envelope()
    envelope.content = "Subject: \N{SNOWMAN}\r\n".encode()
    handler = Debugging(io.TextIOWrapper(octets, encoding="ascii"))
    handler.handle_DATA(SMTP(handler), Session(), envelope)
    assert b"Subject: \\u2603\n" in octets.getvalue()


def test_the_default_is_the_stdout_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    handler = Debugging()
    envelope = Envelope()
    envelope.content = b"Subject: x\r\n"
    handler.handle_DATA(SMTP(handler), Session(), envelope)
    assert "Subject: x\n" in capsys.readouterr().out


async def test_debugging_serves() -> None:
    stream = io.StringIO()
    async with serve(Debugging(stream), "127.0.0.1", 0) as server:
        assert (await send(server.port)).code == 250
    assert CONTENT.decode().replace("\r\n", "\n").partition("\n\n")[2] in stream.getvalue()


def test_debugging_takes_the_name_of_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    assert Debugging.from_cli(parser).stream is None
    assert Debugging.from_cli(parser, "stdout").stream is None
    assert Debugging.from_cli(parser, "stderr").stream is sys.stderr
    for args in (["file"], ["stdout", "stderr"]):
        assert "Debugging usage: [stdout|stderr]" in parser_error(Debugging, args, capsys)


async def test_a_sink_accepts_and_buffers_nothing() -> None:
    envelopes: list[Envelope] = []

    class Observed(Sink):
        async def handle_RCPT(
            self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
        ) -> None:
            envelopes.append(envelope)

    async with serve(Observed(), "127.0.0.1", 0) as server:
        assert (await send(server.port)).code == 250
    assert [envelope.content for envelope in envelopes] == [None]


def test_a_sink_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(Sink.from_cli(argparse.ArgumentParser()), Sink)
    assert "Sink handler does not accept arguments" in parser_error(Sink, ["x"], capsys)
