from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import re
import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ehlo import LMTP, SMTP, serve
from ehlo.handlers import Mailbox
from ehlo.handlers import mailbox as module
from ehlo.handlers.mailbox import deliver, unique_name
from ehlo.net.client import Client
from ehlo.session import Envelope, Session
from tests.handlers.support import CONTENT, parser_error, send

if TYPE_CHECKING:
    from collections.abc import Iterator


def store(handler: Mailbox, content: bytes = CONTENT, *recipients: str, mail_from: str = "from@example.com") -> object:
    """What the hook answers."""
    session = Session(("192.0.2.1", 4711))
    session.host_name = "client.example"
    envelope = Envelope()
    envelope.mail_from = mail_from
    envelope.rcpt_tos = list(recipients) or ["to@example.com"]
    envelope.content = content
    return handler.handle_DATA(SMTP(handler, hostname="mx.example"), session, envelope)


def files(handler: Mailbox) -> dict[str, list[Path]]:
    """The files in each folder."""
    return {name: sorted(Path(handler.mail_dir, name).iterdir()) for name in ("tmp", "new", "cur")}


def stored(handler: Mailbox) -> list[bytes]:
    found = files(handler)
    assert found["tmp"] == found["cur"] == []
    return [path.read_bytes() for path in found["new"]]


@pytest.fixture
def handler(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "deep" / "maildir")


async def test_a_message_is_stored_before_the_reply(handler: Mailbox) -> None:
    async with serve(handler, "127.0.0.1", 0, hostname="mx.example") as server:
        reply = await send(server.port)
        (data,) = stored(handler)
    assert reply.code == 250
    assert re.fullmatch(
        rb"Return-Path: <from@example\.com>\n"
        rb"X-Peer: \('127\.0\.0\.1', \d+\)\n"
        rb"X-MailFrom: from@example\.com\n"
        rb"X-RcptTo: to@example\.com\n"
        rb"Received: from client\.example \(\[127\.0\.0\.1\]\)\n"
        rb"\tby mx\.example with ESMTP id [0-9a-f-]+\n"
        rb"\tfor <to@example\.com>;\n"
        rb"\t[^\n]+\n" + re.escape(CONTENT.replace(b"\r\n", b"\n")),
        data,
    )


async def test_a_message_by_lmtp_says_so(handler: Mailbox) -> None:
    async with (
        serve(handler, "127.0.0.1", 0, protocol=LMTP) as server,
        Client.connect("127.0.0.1", server.port, lmtp=True) as client,
    ):
        await client.ehlo()
        await client.mail("a@b")
        await client.rcpt("c@d")
        await client.data(CONTENT)
    assert b" with LMTP id " in stored(handler)[0]


def test_the_standard_library_reads_it(handler: Mailbox) -> None:
    store(handler)
    (message,) = handler.mailbox
    assert message["Subject"] == "a message"
    assert message["Return-Path"] == "<from@example.com>"
    assert message.get_payload() == "Hello\n.hidden dot\nBye\n"


def test_every_recipient_is_written_down_in_short_lines(handler: Mailbox) -> None:
    recipients = [f"recipient{number}@example.com" for number in range(1000)]
    store(handler, CONTENT, *recipients)
    (data,) = stored(handler)
    assert max(map(len, data.splitlines())) < 100
    assert "".join(str(next(iter(handler.mailbox))["X-RcptTo"]).split()).split(",") == recipients


def test_an_internationalised_envelope_is_written_in_utf8(handler: Mailbox) -> None:
    store(handler, CONTENT, "jürgen@example.com", mail_from="jürgen@example.com")
    assert stored(handler)[0].startswith("Return-Path: <jürgen@example.com>\n".encode())


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_line_ends_become_lf_and_nothing_else_changes(
    size: int, handler: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PIECE_SIZE", size)
    content = b"a: b\r\n\r\nbare \r and \n stay\r\r\n\r\n\r\n\xff\x00.\r\nno end\r"
    store(handler, content)
    (data,) = stored(handler)
    assert data.endswith(b"a: b\n\nbare \r and \n stay\r\n\n\n\xff\x00.\nno end\r")


def test_nobody_else_may_read_it(handler: Mailbox) -> None:
    store(handler)
    (path,) = files(handler)["new"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_folder_that_is_there_is_used(tmp_path: Path) -> None:
    store(Mailbox(tmp_path))
    handler = Mailbox(str(tmp_path))
    store(handler)
    assert len(stored(handler)) == 2


def test_names_are_unique_and_hold_no_separator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_042_000)
    monkeypatch.setattr(socket, "gethostname", lambda: "a/b:c")
    names = {unique_name() for _ in range(1000)}
    assert len(names) == 1000
    pattern = rf"1700000000\.R[0-9a-f]{{16}}M000042P{os.getpid()}Q\d+\.a\\057b\\072c"
    assert all(re.fullmatch(pattern, name) for name in names)


def test_the_file_is_synced_before_it_is_new_and_its_name_before_the_reply(
    handler: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    fsync, rename = os.fsync, Path.rename

    def spy_fsync(descriptor: int) -> None:
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        fsync(descriptor)

    def spy_rename(path: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "rename", spy_rename)
    store(handler)
    assert steps == ["sync file", "rename", "sync folder"]


FAILURES = {
    errno.ENOSPC: "452 4.3.1",
    errno.EDQUOT: "452 4.3.1",
    errno.EACCES: "451 4.3.0",
    errno.EIO: "451 4.3.0",
    errno.EROFS: "451 4.3.0",
}


@pytest.mark.parametrize("number", FAILURES, ids=errno.errorcode.get)
@pytest.mark.parametrize("step", ["open", "sync file", "rename", "sync folder"])
def test_a_disk_that_fails_is_temporary_and_leaves_nothing(
    number: int, step: str, handler: Mailbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fsync = os.fsync

    def fail(*_: object) -> None:
        raise OSError(number, "the disk says no")

    def fsync_that_fails(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        fail() if is_folder == (step == "sync folder") else fsync(descriptor)

    if step == "open":
        monkeypatch.setattr(module, "_open_private", fail)
    elif step == "rename":
        monkeypatch.setattr(Path, "rename", fail)
    else:
        monkeypatch.setattr(os, "fsync", fsync_that_fails)
    with caplog.at_level(logging.ERROR):
        answer = store(handler)
    assert str(answer).startswith(FAILURES[number])
    assert "disk" not in str(answer)
    assert "the disk says no" in caplog.text
    assert stored(handler) == []


def test_content_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    handler = Mailbox(tmp_path)

    def pieces() -> Iterator[bytes]:
        yield b"Subject: x\n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver(tmp_path, pieces())
    assert stored(handler) == []


async def test_a_mailbox_that_is_gone_is_451_and_the_next_message_is_stored_when_it_is_back(
    handler: Mailbox, tmp_path: Path
) -> None:
    folder, away = Path(handler.mail_dir), tmp_path / "away"
    async with serve(handler, "127.0.0.1", 0) as server:
        await asyncio.to_thread(folder.rename, away)
        assert str(await send(server.port)).startswith("451 4.3.0 Cannot store")
        await asyncio.to_thread(away.rename, folder)
        assert (await send(server.port)).code == 250
    assert len(stored(handler)) == 1


def test_a_reset_deletes_every_message(handler: Mailbox) -> None:
    store(handler)
    store(handler)
    handler.reset()
    assert stored(handler) == []
    store(handler)
    assert len(stored(handler)) == 1


def test_the_command_line_gives_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = Mailbox.from_cli(argparse.ArgumentParser(), str(tmp_path / "maildir"))
    assert handler.mail_dir == str(tmp_path / "maildir")
    assert "The directory for the maildir is required" in parser_error(Mailbox, [], capsys)
    assert "Too many arguments for Mailbox handler" in parser_error(Mailbox, ["a", "b"], capsys)
