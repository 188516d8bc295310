"""The program `ehlo`, as somebody has it in a terminal who tries a client on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import smtplib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiosmtplib

import ehlo
from tests.e2e.support import LOGIN, MESSAGE, PASSWORD, RECIPIENT, SENDER, run, unix_lines

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Callable

LIMIT = 20  # seconds for a step


class Catching:
    """A running ``ehlo catch``, and what it wrote."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.port = 0
        self.shown = ""

    async def begin(self) -> None:
        """Wait until it says where it listens."""
        announcement = await self._show_until(re.compile(r"catches mail on .*:(\d+)"))
        self.port = int(announcement[1])

    async def shows(self, text: str) -> None:
        """Wait until it has written this."""
        await self._show_until(re.compile(re.escape(text)))

    async def end(self) -> int:
        """Stop it as a service manager does; give its exit status."""
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(LIMIT):
            assert self._process.stdout is not None
            self.shown += (await self._process.stdout.read()).decode()
            return await self._process.wait()

    async def _show_until(self, pattern: re.Pattern[str]) -> re.Match[str]:
        assert self._process.stdout is not None
        async with asyncio.timeout(LIMIT):
            while (match := pattern.search(self.shown)) is None:
                line = await self._process.stdout.readline()
                assert line, f"ended after {self.shown}"
                self.shown += line.decode()
        return match


@contextlib.asynccontextmanager
async def catching() -> AsyncIterator[Catching]:
    """Start one on a port that the system chooses.  In the end it must stop in order, without a word of complaint."""
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-W",
            "error",
            "-m",
            "ehlo",
            "catch",
            "--smtp",
            "localhost:0",
            "--no-web",
            "--color",
            "never",
        ),
        # Installed or not, it is this checkout that is tested.
        env={**os.environ, "PYTHONPATH": str(Path(ehlo.__file__).parents[1])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        catcher = Catching(process)
        await catcher.begin()
        yield catcher
        assert await catcher.end() == 0
        assert process.stderr is not None
        assert await process.stderr.read() == b""
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        print(catcher.shown)


async def test_smtplib() -> None:
    def talk() -> None:
        with smtplib.SMTP("localhost", catcher.port, "client.example.org", timeout=10) as client:
            client.login(LOGIN, PASSWORD)
            client.sendmail(SENDER, [RECIPIENT, "carol@example.com"], MESSAGE)

    async with catching() as catcher:
        await asyncio.to_thread(talk)
        await catcher.shows("the end")
    for fact in (SENDER, RECIPIENT, "carol@example.com", "Dots", LOGIN):
        assert fact in catcher.shown
    assert PASSWORD not in catcher.shown
    assert "Caught 1 message." in catcher.shown


async def test_aiosmtplib() -> None:
    async with catching() as catcher:
        for _ in range(10):
            await aiosmtplib.send(
                MESSAGE, sender=SENDER, recipients=[RECIPIENT], hostname="localhost", port=catcher.port
            )
    assert "Caught 10 messages." in catcher.shown


async def test_swaks(program: Callable[[str], str], tmp_path: Path) -> None:
    attachment = tmp_path / "report.pdf"
    attachment.write_bytes(b"%PDF-1.4\n")
    async with catching() as catcher:
        told = await run(
            *(program("swaks"), "--server", f"localhost:{catcher.port}", "--to", RECIPIENT, "--from", SENDER),
            *("--attach-type", "application/pdf", "--attach-name", "report.pdf", "--attach", f"@{attachment}"),
            *("--header", "Subject: With swaks"),
        )
        assert told.is_content
        await catcher.shows("report.pdf")
    assert "With swaks" in catcher.shown
    assert "This is a test mailing" in catcher.shown


async def test_curl(program: Callable[[str], str]) -> None:
    async with catching() as catcher:
        told = await run(
            *(program("curl"), "--disable", "--silent", "--show-error", f"smtp://localhost:{catcher.port}"),
            *("--mail-from", SENDER, "--mail-rcpt", RECIPIENT, "--upload-file", "-"),
            sent=MESSAGE,
        )
        assert told.is_content
        await catcher.shows("the end")
    assert "Dots" in catcher.shown


async def test_msmtp(program: Callable[[str], str]) -> None:
    async with catching() as catcher:
        told = await run(
            *(program("msmtp"), "--file=/dev/null", "--host=localhost", f"--port={catcher.port}", f"--from={SENDER}"),
            RECIPIENT,
            sent=unix_lines(MESSAGE),
        )
        assert told == (0, "", "")
        await catcher.shows("the end")
    assert "Dots" in catcher.shown


async def test_nodemailer(program: Callable[[str], str], node_folder: Path) -> None:
    mail = {"from": SENDER, "to": RECIPIENT, "subject": "Grüße von Node", "text": "Привет"}
    async with catching() as catcher:
        transport = {"host": "localhost", "port": catcher.port, "auth": {"user": LOGIN, "pass": PASSWORD}}
        told = await run(
            *(program("node"), node_folder / "nodemailer_client.js"),
            sent=json.dumps({"transport": transport, "mails": [mail]}).encode(),
        )
        assert told.is_content
        await catcher.shows("Привет")
    assert "Grüße von Node" in catcher.shown


async def test_smtp_source(program: Callable[[str], str]) -> None:
    async with catching() as catcher:
        told = await run(
            *(program("smtp-source"), "-s", "5", "-m", "100", "-f", SENDER, "-t", RECIPIENT),
            f"inet:localhost:{catcher.port}",
        )
        assert told == (0, "", "")
        await catcher.shows("100 at ")
    assert "Caught 100 messages." in catcher.shown
