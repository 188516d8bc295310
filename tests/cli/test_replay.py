from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
import trustme

from ehlo.cli import replay
from ehlo.cli.recording import CannotReplay, read_recording
from ehlo.inbox.server import InboxServer
from ehlo.inbox.store import Store
from tests.cli.process import Command
from tests.inbox.web.support import serving, until
from tests.inbox.web.test_api import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from ehlo.inbox.records import Line, SessionRecord

PATIENCE = 10.0
HELLO = [b"EHLO client.sender.example\r\n"]
ENVELOPE = [b"MAIL FROM:<anna@sender.example>\r\n", b"RCPT TO:<bob@receiver.example>\r\n"]
BODY = b"Subject: Dots\r\n\r\n.\r\n..two\r\nbare\nand the end\r\n"
STUFFED = b"Subject: Dots\r\n\r\n..\r\n...two\r\nbare\nand the end\r\n.\r\n"
DATA = [b"DATA\r\n", STUFFED]
QUIT = [b"QUIT\r\n"]
LOGIN = base64.b64encode(b"\0ann\0secret")
TOKEN = base64.b64encode(b"user=ann\1auth=Bearer secret\1\1")
BEARER = base64.b64encode(b"n,a=ann,\1auth=Bearer secret\1\1")


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EHLO_PASSWORD", "secret")


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[InboxServer]:
    """The server that a session is replayed to."""
    with Store() as store:
        async with InboxServer(store, smtp=("127.0.0.1", 0), web=None, is_indexed=False, **options) as server:
            yield server


async def speak(port: int, pieces: Sequence[bytes]) -> None:
    """Send a piece when there is a reply to the one before; leave when all are sent and answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(PATIENCE):
        await reader.readline()
        for piece in pieces:
            writer.write(piece)
            if piece.endswith(b"\r\n"):
                for _ in range(max(1, len(commands_in(piece)))):
                    while (await reader.readline())[3:4] == b"-":
                        pass
            else:
                await writer.drain()
        writer.close()
        await writer.wait_closed()


def commands_in(piece: bytes) -> list[bytes]:
    verbs = (b"EHLO", b"MAIL", b"RCPT", b"BDAT", b"QUIT", b"NOOP", b"RSET")
    return [line for line in piece.split(b"\r\n") if line.startswith(verbs)]


async def session_of(server: InboxServer) -> SessionRecord:
    """The session that has ended."""
    await until(lambda: len(server.store.sessions()) == 1)
    record = server.session(server.store.sessions()[0].id)
    assert record is not None
    return record


async def recorded(pieces: Sequence[bytes], path: Path) -> list[tuple[str, str]]:
    """Speak, and keep the recording."""
    async with serving(smtp=("127.0.0.1", 0)) as web:
        await speak(web.server.addresses[0][1], pieces)
        record = await session_of(web.server)
        path.write_bytes((await ask(web, "record_session", id=record.id)).body)  # noqa: ASYNC240 - a test's
        return told(record.transcript)


def told(transcript: Sequence[Line]) -> list[tuple[str, str]]:
    return [(line.by, re.sub(r"queued as \S+", "queued", line.text)) for line in transcript]


async def replayed(path: Path, server: InboxServer, *options: str) -> int:
    port = server.addresses[0][1]
    words = [str(path), "--server", f"127.0.0.1:{port}", *(options or ["--no-wait"])]
    return await asyncio.to_thread(replay.main, words)


SESSIONS = {
    "one command after the other": [*HELLO, *ENVELOPE, *DATA, *QUIT],
    "two messages": [*HELLO, *ENVELOPE, *DATA, *ENVELOPE, b"DATA\r\n", b"Subject: 2\r\n\r\n.\r\n", *QUIT],
    "pipelined": [*HELLO, b"".join(ENVELOPE) + b"DATA\r\n", STUFFED, *QUIT],
    "an empty message": [*HELLO, *ENVELOPE, b"DATA\r\n", b".\r\n", *QUIT],
    "chunks": [*HELLO, *ENVELOPE, b"BDAT 5\r\nabc\r\n", b"BDAT 6 LAST\r\nend.\r\n", *QUIT],
    "chunks, pipelined": [*HELLO, b"".join(ENVELOPE) + b"BDAT 2\r\n\r\nBDAT 6 LAST\r\nend.\r\n", *QUIT],
    "an empty last chunk": [*HELLO, *ENVELOPE, b"BDAT 5\r\nabc\r\n", b"BDAT 0 LAST\r\n", *QUIT],
    "refused": [*HELLO, b"MAIL FROM:<not an address\r\n", b"RCPT TO:<a@b.example>\r\n", b"DATA\r\n", *QUIT],
    "not understood": [b"HELLO\r\n", b"caf\xe9 \xff\r\n", *QUIT],
    "a login at once": [*HELLO, b"AUTH PLAIN " + LOGIN + b"\r\n", *ENVELOPE, *DATA, *QUIT],
    "a login by challenge": [*HELLO, b"AUTH LOGIN\r\n", b"YW5u\r\n", b"c2VjcmV0\r\n", *QUIT],
    "a login that is given up": [*HELLO, b"AUTH LOGIN\r\n", b"*\r\n", *QUIT],
    "a login by token": [*HELLO, b"AUTH XOAUTH2 " + TOKEN + b"\r\n", *QUIT],
    "a login by a standard token": [*HELLO, b"AUTH OAUTHBEARER " + BEARER + b"\r\n", *QUIT],
    "a login by PLAIN that asks first": [*HELLO, b"AUTH PLAIN\r\n", LOGIN + b"\r\n", *QUIT],
    "a line with LF only": [*HELLO, b"NOOP\nMAIL FROM:<a@b.example>\r\n", *QUIT],
    "a line with NUL": [*HELLO, b"NOOP \0\r\n", *QUIT],
    "octets of all kinds": [*HELLO, *ENVELOPE, b"BDAT 256 LAST\r\n" + bytes(range(256)), *QUIT],
    "mail data with NUL, 8-bit, CR": [*HELLO, *ENVELOPE, b"DATA\r\n", b"\0 \xff\x80\r \n.\r\n\r\n.\r\n", *QUIT],
    "no leave is taken": [*HELLO, *ENVELOPE],
    "broken amid the data": [*HELLO, *ENVELOPE, b"DATA\r\n", b"Subject: half\r\n\r\nhal"],
    "broken amid a chunk": [*HELLO, *ENVELOPE, b"BDAT 500 LAST\r\nhal"],
    "nothing": [],
}


@pytest.mark.parametrize("pieces", SESSIONS.values(), ids=SESSIONS)
async def test_a_server_hears_what_the_first_one_heard(pieces: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    first = await recorded(pieces, path)
    async with listening() as server:
        assert await replayed(path, server) == replay.SAME
        record = await session_of(server)
        assert told(record.transcript) == first
        contents = [server.store.raw(id_) for id_ in record.messages]
    assert contents == [base64.b64decode(one["raw"]) for one in json.loads(path.read_bytes())["messages"]]


async def test_mail_data_is_the_message_that_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    await recorded(SESSIONS["pipelined"], path)
    async with listening() as server:
        await replayed(path, server)
        record = await session_of(server)
        assert [server.store.raw(id_) for id_ in record.messages] == [BODY]
        # What was sent ahead is older than the reply above it.
        lines = {line.text.partition(" ")[0]: line.at for line in record.transcript if line.by == "C"}
        assert lines["MAIL"] == lines["RCPT"] == lines["DATA"]


async def test_a_reply_that_is_another_one_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "session.json"
    await recorded(SESSIONS["chunks"], path)
    async with listening(max_size=8) as server:
        assert await replayed(path, server) == replay.DIFFERENT
    said = capsys.readouterr().out
    assert "S: 552 5.3.4" in said
    assert "  recorded: 250 2.0.0" in said
    assert "different." in said


async def test_where_one_server_waits_for_data_and_the_other_does_not_it_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "session.json"
    await recorded([*HELLO, b"MAIL FROM:<a@b.example>\r\n", b"DATA\r\n", *QUIT], path)
    path.write_bytes(path.read_bytes().replace(b"503 5.5.1", b"354 5.5.1"))
    async with listening() as server:
        assert await replayed(path, server) == replay.DIFFERENT
    assert "cannot go on" in capsys.readouterr().out


async def test_the_password_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "session.json"
    await recorded(SESSIONS["a login at once"], path)
    async with listening() as server:
        await replayed(path, server)
        assert (await session_of(server)).login == "ann"
    said = capsys.readouterr().out
    assert "C: AUTH PLAIN ********" in said
    assert LOGIN.decode() not in said


async def test_a_login_needs_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EHLO_PASSWORD")
    path = tmp_path / "session.json"
    await recorded(SESSIONS["a login at once"], path)
    async with listening() as server:
        assert await replayed(path, server) == replay.FAILED
    assert "no password for ann" in capsys.readouterr().err


async def test_the_pauses_are_those_of_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    await recorded([*HELLO, *QUIT], path)
    recording = json.loads(path.read_bytes())
    for line in recording["session"]["transcript"]:
        line["at"] *= 1e-3
        if "QUIT" in line["text"] or "221" in line["text"]:
            line["at"] += 2.0
    path.write_text(json.dumps(recording))
    async with listening() as server:
        began = time.monotonic()
        assert await replayed(path, server, "--speed", "10") == replay.SAME
        assert 0.19 < time.monotonic() - began < PATIENCE


def test_a_server_elsewhere_must_be_allowed() -> None:
    with pytest.raises(ValueError, match=r"192\.0\.2\.1 is not on this machine"):
        replay.allowed_addresses("192.0.2.1", 25, [])
    assert replay.allowed_addresses("192.0.2.1", 25, ["192.0.2.1"]) == ["192.0.2.1"]
    assert replay.allowed_addresses("127.0.0.1", 25, []) == ["127.0.0.1"]
    assert replay.allowed_addresses("::1", 25, []) == ["::1"]
    assert replay.allowed_addresses("::ffff:127.0.0.1", 25, []) == ["::ffff:127.0.0.1"]
    with pytest.raises(ValueError, match=r"::ffff:192\.0\.2\.1 is not on this machine"):
        replay.allowed_addresses("::ffff:192.0.2.1", 25, [])
    assert replay.allowed_addresses(None, 25, []) == ["127.0.0.1", "::1"]


async def test_nobody_listens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "session.json"
    await recorded([*QUIT], path)
    async with listening() as server:
        port = server.addresses[0][1]
    assert await asyncio.to_thread(replay.main, [str(path), "--server", f":{port}"]) == replay.FAILED
    assert "cannot connect" in capsys.readouterr().err


async def test_a_message_whose_reply_was_lost_is_sent_whole(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    async with serving(smtp=("127.0.0.1", 0)) as web:
        web.server.faults.set({"rule": [{"verb": "END", "disconnect": "unanswered"}]})
        await speak(web.server.addresses[0][1], [*HELLO, *ENVELOPE, *DATA])
        record = await session_of(web.server)
        path.write_bytes((await ask(web, "record_session", id=record.id)).body)
    async with listening() as server:
        await replayed(path, server)
        assert [server.store.raw(id_) for id_ in (await session_of(server)).messages] == [BODY]


@asynccontextmanager
async def scripted(*replies: bytes, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server that says this, each after a line but the first, and closes then; its port."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, reply in enumerate(replies):
            if number:
                await reader.readline()
            writer.write(reply)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(speak, host, 0) as server:
        yield server.sockets[0].getsockname()[1]


def simple_session(path: Path) -> Path:
    lines = [
        line("S", "220 localhost ESMTP"),
        line("C", "HELO a.example"),
        line("S", "250 localhost"),
        line("C", "MAIL FROM:<a@b.example>"),
        line("S", "250 2.1.0 OK"),
        line("C", "QUIT"),
        line("S", "221 2.0.0 Bye"),
    ]
    file = path / "session.json"
    file.write_bytes(file_of(*lines))
    return file


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ([], "  the server closed the connection (recorded: 220 localhost ESMTP)\n1 reply was different. 3 more"),
        (
            [b"220 x\r\n", b""],
            "closed the connection (recorded: 250 localhost)\n1 reply was different. 2 more were not",
        ),
        ([b"220 x\r\n", b"421 x\r\n"], "recorded: 250 localhost\n-: the server leaves\n1 reply was different. 2 more"),
        ([b"hello\r\n"], "  no reply line: b'hello' (recorded: 220 localhost ESMTP)\n"),
    ],
)
async def test_a_server_that_breaks_off(
    replies: list[bytes], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = simple_session(tmp_path)
    async with scripted(*replies) as port:
        assert await asyncio.to_thread(replay.main, [str(file), "--server", f":{port}"]) == replay.DIFFERENT
    assert expected in capsys.readouterr().out


async def test_a_server_that_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with scripted(b"220 x\r\n", b"", b"") as port:
        words = [str(simple_session(tmp_path)), "--timeout", "0.1", "--server", f":{port}"]
        assert await asyncio.to_thread(replay.main, words) == replay.DIFFERENT
    assert "no reply in time (see --timeout) (recorded: 250 localhost)" in capsys.readouterr().out


@pytest.mark.parametrize("server", ["[::1]:{}", "localhost:{}", ":{}"])
async def test_ipv6(server: str, tmp_path: Path) -> None:
    file = simple_session(tmp_path)
    async with scripted(b"220 x\r\n", b"250 x\r\n", b"250 x\r\n", b"221 x\r\n", host="::1") as port:
        assert await asyncio.to_thread(replay.main, [str(file), "--server", server.format(port)]) == replay.SAME


async def test_who_cannot_log_in_does_not_connect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "session.json"
    file.write_bytes(file_of(line("S", "220 x"), line("C", "AUTH SCRAM-SHA-256 [40 octets, not kept]")))
    async with scripted() as port:
        assert await asyncio.to_thread(replay.main, [str(file), "--server", f":{port}"]) == replay.FAILED
    said = capsys.readouterr()
    assert "cannot log in by SCRAM-SHA-256: by PLAIN, LOGIN, CRAM-MD5, XOAUTH2, OAUTHBEARER only" in said.err
    assert said.out == ""


def plain_login(path: Path, login: str) -> Path:
    file = path / "session.json"
    lines = [line("S", "220 x"), line("C", "AUTH PLAIN [40 octets, not kept]")]
    file.write_bytes(file_of(session={"login": login, "transcript": lines}))
    return file


@pytest.mark.parametrize(("login", "octets"), [("ann", b"\xff\n"), ("\ud800", b"secret\n")])
def test_who_cannot_be_said_in_utf_8_does_not_log_in(
    login: str, octets: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(octets)
    words = [str(plain_login(tmp_path, login)), "--server", ":1", "--password-file", str(secret)]
    assert replay.main(words) == replay.FAILED
    assert capsys.readouterr().err == "ehlo: a user or a password that is not in UTF-8\n"


def test_certificates_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "session.json"
    file.write_bytes(encrypted_session())
    assert replay.main([str(file), "--server", ":1", "--ca", str(tmp_path / "none")]) == replay.FAILED
    assert capsys.readouterr().err == f"ehlo: cannot use {tmp_path / 'none'}: No such file or directory\n"


async def test_nobody_who_reads_it_is_no_error(tmp_path: Path) -> None:
    file = simple_session(tmp_path)
    async with scripted(b"220 x\r\n") as port:
        command = Command("-m", "ehlo", "replay", str(file), "--server", f":{port}", reads_output=False)
        assert await asyncio.to_thread(command.wait) == replay.FAILED
    assert command.err.text == ""


def test_a_name_that_there_is_not(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        replay.main([str(simple_session(tmp_path)), "--server", "x" * 70 + ":25"])
    assert "error: " + "x" * 70 + ": " in capsys.readouterr().err


def line(by: str, text: str, at: float = 0.0) -> dict[str, Any]:
    return {"at": at, "by": by, "text": text}


def file_of(*lines: dict[str, Any], **more: Any) -> bytes:
    record = {"format": "ehlo-session-1", "session": {"login": None, "transcript": lines}, "messages": []}
    return json.dumps(record | more).encode()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "no recording"),
        (b"[]", "no recording"),
        (file_of(format="2"), "another kind: '2'"),
        (file_of(messages=[{"raw": "!"}]), "no recording"),
        (file_of(), "nothing happened in this session"),
        (b"[" * 100_000, "no recording"),
        (file_of(line("S", "220 x", float("nan"))), "no recording"),
        (file_of(line("S", "220 x", float("inf"))), "no recording"),
        (file_of(line("S", "220 x", -1)), "no recording"),
        (file_of(line("S", "220 x", 10**400)), "no recording"),
        (file_of(line("X", "220 x")), "no recording"),
        (file_of(line("S", cast("Any", None))), "no recording"),
        (file_of(line("C", "NOOP \ud800")), "no recording"),
        (file_of(line("S", "")), "line 1 of the transcript is no reply"),
        (file_of(line("S", "2200 x")), "line 1 of the transcript is no reply"),
        (file_of(line("C", "BDAT 999999999999999 LAST")), "line 1 of the transcript: more than 1073741824 octets"),
        (
            file_of(line("C", "DATA"), line("S", "354 x"), line("-", "99999999999 octets of mail data")),
            "line 3 of the transcript: more than 1073741824 octets",
        ),
        (file_of(line("-", "a line of more than 99999999999 octets")), "line 1 of the transcript: more than 10737"),
        (file_of(line("C", "x [and 5 octets more]")), "line 1 of the transcript is too long"),
        (file_of(line("C", "password [5 octets, not kept]")), "line 1 of the transcript was not kept"),
        (file_of(line("C", "AUTH [5 octets, not kept]")), "line 1 of the transcript was not kept"),
        (file_of(line("-", "7 lines are not kept")), "line 1 of the transcript: 7 lines"),
    ],
)
def test_what_cannot_be_said_again_says_why(data: bytes, complaint: str) -> None:
    with pytest.raises(CannotReplay, match=complaint):
        read_recording(data)


def test_data_that_was_not_kept_is_made_up_to_the_octet() -> None:
    lines = [line("C", "DATA"), line("S", "354 Go ahead"), line("-", "200 octets of mail data"), line("S", "554 No")]
    steps = read_recording(file_of(*lines)).steps
    [data] = [step for step in steps if step.kind == "data"]
    assert data.is_filled
    assert len(data.octets) == 200 + len(b".\r\n")
    assert data.octets.endswith(b"x\r\n.\r\n")


def test_a_line_that_was_too_long_is_too_long_again() -> None:
    [command, *_] = read_recording(file_of(line("-", "a line of more than 512 octets"))).steps
    assert len(command.octets) == 513 + 2


@asynccontextmanager
async def encrypted(path: Path) -> AsyncIterator[tuple[InboxServer, Path]]:
    """A server with STARTTLS, and the file of whom to trust."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    async with listening(tls_context=context) as server:
        yield server, trusted


def encrypted_session() -> bytes:
    lines = [
        line("S", "220 localhost ESMTP", 0.1),
        line("C", "EHLO client.sender.example", 0.2),
        line("S", "250-localhost", 0.3),
        line("S", "250 STARTTLS", 0.3),
        line("C", "STARTTLS", 0.4),
        line("S", "220 2.0.0 Go ahead", 0.5),
        line("-", "TLS: TLSv1.3, TLS_AES_256_GCM_SHA384", 0.6),
        line("C", "EHLO client.sender.example", 0.7),
        line("S", "250 localhost", 0.8),
        line("C", "QUIT", 0.9),
        line("S", "221 2.0.0 Bye", 1.0),
    ]
    return file_of(*lines)


async def test_tls_begins_where_it_began(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    path.write_bytes(encrypted_session())
    async with encrypted(tmp_path) as (server, trusted):
        assert await replayed(path, server, "--no-wait", "--ca", str(trusted)) == replay.SAME
        record = await session_of(server)
        assert record.tls is not None
        assert [text for by, text in told(record.transcript) if by == "C"][2] == "EHLO client.sender.example"


async def test_a_certificate_that_is_not_trusted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "session.json"
    path.write_bytes(encrypted_session())
    async with encrypted(tmp_path) as (server, _):
        assert await replayed(path, server) == replay.FAILED
        assert "see --ca" in capsys.readouterr().err
        assert await replayed(path, server, "--no-wait", "--insecure") == replay.SAME


async def test_without_tls_no_password_is_sent_that_was_sent_under_it(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    path.write_bytes(encrypted_session())
    async with listening() as server:
        assert await replayed(path, server) == replay.DIFFERENT
        assert told((await session_of(server)).transcript)[-2][1] == "STARTTLS"
