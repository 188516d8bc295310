from __future__ import annotations

import asyncio

import pytest

from ehlo import SMTP, Settings
from ehlo.testing import DialogueError, Script
from tests.support import Recorder, with_fake_clock

SETTINGS = Settings(hostname="mx.test")


def server(handler: object | None = None) -> SMTP:
    return SMTP(handler or Recorder(), settings=SETTINGS)


async def play(*lines: str, octet_by_octet: bool = False) -> None:
    smtp = server()
    try:
        await Script.parse("\n".join(lines)).play(smtp, octet_by_octet=octet_by_octet)
    finally:
        smtp.task.cancel()
        await asyncio.wait([smtp.task])


def test_a_script_is_steps_and_options() -> None:
    script = Script.parse(
        "# A comment.\n\n@timeout 5\n@flag\n@list  [1, 2] \nS: 220 x\nC: NOOP\nC:\nC+ a\\r\\n\nX: closed\n"
    )
    assert script.options == {"timeout": "5", "flag": "", "list": "[1, 2]"}
    assert [tuple(step) for step in script.steps] == [
        (6, "S:", "220 x"),
        (7, "C:", "NOOP"),
        (8, "C:", ""),
        (9, "C+", "a\\r\\n"),
        (10, "X:", "closed"),
    ]


@pytest.mark.parametrize("line", ["NOOP", "S 220", "Q: what", "c: NOOP", " # no comment"])
def test_another_line_is_none_of_a_script(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 is no line of a dialogue"):
        Script.parse(f"S: 220 x\n{line}")


GREETING = "S: 220 mx.test ESMTP ehlo"


@pytest.mark.parametrize("octet_by_octet", [False, True])
async def test_what_is_said_is_heard(octet_by_octet: bool) -> None:
    await play(
        GREETING,
        "C: NOOP",
        "C: VRFY x",
        "S: 250 2.0.0 OK",
        "S: 252 2.5.2 Cannot ...",
        "X: open",
        "C+ NO",
        "C+ OP\\x20x\\r\\n",
        "S: 250 ...",
        "C: HELP",
        "S: ...",
        "C: EHLO x",
        "S: 250-mx.test",
        "S: ...",
        "C: QUIT",
        "S: 221 2.0.0 Bye",
        "X: closed",
        octet_by_octet=octet_by_octet,
    )


async def test_text_beyond_ascii_is_sent_as_utf8_and_escapes_as_octets() -> None:
    await play(GREETING, "C: NOOP ä", "S: 250 2.0.0 OK", "C+ NOOP \\xff\\r\\n", "S: 500 5.5.2 Syntax error")


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["S: 220 other"], "line 1: expected '220 other', heard '220 mx.test ESMTP ehlo'"),
        ([GREETING, "C: NOOP", "S: 250 2.0.0"], "line 3: expected '250 2.0.0', heard '250 2.0.0 OK'"),
        ([GREETING, "C: NOOP", "S: 550..."], "line 3: expected '550...', heard '250 2.0.0 OK'"),
        ([GREETING, "C: QUIT", "S: ...", "S: 250"], "line 4: expected '250', but the server has closed"),
        ([GREETING, "C: QUIT", "X: closed"], "line 3: expected an end, heard"),
        ([GREETING, "C: NOOP", "X: open"], "line 3: expected silence, heard"),
        ([GREETING, "C: QUIT", "S: ...", "X: open"], "line 4: expected silence, heard"),
    ],
)
async def test_what_is_not_said_is_complained_of(lines: list[str], complaint: str) -> None:
    with pytest.raises(DialogueError) as caught:
        await play(*lines)
    assert complaint in str(caught.value)


async def test_a_server_that_says_nothing_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ehlo.testing.dialogue._PATIENCE", 0.01)
    with pytest.raises(DialogueError, match="line 2: expected '250', heard nothing"):
        await play(GREETING, "S: 250")


@with_fake_clock
async def test_time_may_pass() -> None:
    await play(GREETING, "T: 299.5", "X: open", "T: 1", "S: 421 4.4.2 ...", "X: closed")


async def test_time_passes_on_a_fake_clock_only() -> None:
    with pytest.raises(TypeError, match="FakeClockLoop"):
        await play(GREETING, "T: 1")


async def test_the_client_may_end_its_side() -> None:
    await play(GREETING, "C: NOOP", "E: eof", "S: 250 2.0.0 OK", "X: closed")


async def test_afterwards_the_session_is_over_and_its_transport_is_given() -> None:
    handler = Recorder()
    smtp = server(handler)
    transport = await Script.parse(f"{GREETING}\nC: NOOP\nS: 250 2.0.0 OK").play(smtp)
    assert smtp.task.done()
    assert transport.is_closing()
    assert transport.writes == [b"220 mx.test ESMTP ehlo\r\n", b"250 2.0.0 OK\r\n"]
    assert handler.reasons == ["closed"]


async def test_octet_by_octet_the_server_gets_one_at_a_time() -> None:
    pieces: list[bytes] = []

    class Noting(SMTP):
        def data_received(self, data: bytes) -> None:
            pieces.append(data)
            super().data_received(data)

    script = Script.parse(f"{GREETING}\nC: NOOP\nS: 250 2.0.0 OK")
    await script.play(Noting(Recorder(), settings=SETTINGS), octet_by_octet=True)
    assert pieces == [b"N", b"O", b"O", b"P", b"\r", b"\n"]
    pieces.clear()
    await script.play(Noting(Recorder(), settings=SETTINGS))
    assert pieces == [b"NOOP\r\n"]


async def test_octet_by_octet_the_server_may_answer_in_between() -> None:
    script = Script.parse(f"{GREETING}\nC: NOOP\nC: NOOP\nS: 250 2.0.0 OK\nS: 250 2.0.0 OK")
    transport = await script.play(server())
    assert transport.writes[1:] == [b"250 2.0.0 OK\r\n250 2.0.0 OK\r\n"]
    transport = await script.play(server(), octet_by_octet=True)
    assert transport.writes[1:] == [b"250 2.0.0 OK\r\n", b"250 2.0.0 OK\r\n"]


async def test_a_dialogue_that_fails_leaves_nothing_running() -> None:
    smtp = server(handler := Recorder())
    with pytest.raises(DialogueError):
        await Script.parse("S: 220 other").play(smtp)
    assert smtp.task.done()
    assert handler.reasons == ["closed"]


async def test_the_failure_of_a_server_is_raised() -> None:
    class Broken(SMTP):
        async def _converse(self) -> None:
            raise RuntimeError("details")

    with pytest.raises(RuntimeError, match="details"):
        await Script.parse("X: closed").play(Broken(Recorder(), settings=SETTINGS))
