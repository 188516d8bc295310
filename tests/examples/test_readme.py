from __future__ import annotations

import asyncio
import runpy
import smtplib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ehlo

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import pytest

PROJECT = Path(__file__).parents[2]
PROGRAM = PROJECT / "examples/readme.py"


async def test_the_program_takes_what_is_for_it_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mains: list[Coroutine[Any, Any, None]] = []
    servers: list[ehlo.SMTPServer] = []
    serve = ehlo.serve

    def serve_anywhere(handler: object, *, port: int) -> ehlo.SMTPServer:
        assert port == 8025
        servers.append(serve(handler, port=0, hostname="mx.test"))
        return servers[0]

    def send(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            refused = client.sendmail("me@example.com", ["you@example.com", "her@example.net"], "Hello\r\n")
            assert refused == {"her@example.net": (550, b"5.7.1 Not for me")}

    monkeypatch.setattr(ehlo, "serve", serve_anywhere)
    monkeypatch.setattr(asyncio, "run", mains.append)
    runpy.run_path(str(PROGRAM), run_name="__main__")
    program = asyncio.create_task(mains[0])
    while not servers or not servers[0].is_serving:  # noqa: ASYNC110 - the program tells nobody that it is ready
        await asyncio.sleep(0)
    await asyncio.to_thread(send, servers[0].port)
    await servers[0].stop()
    await program
    assert capsys.readouterr().out == "me@example.com -> you@example.com: 7 octets\n"


def test_the_readme_quotes_the_program() -> None:
    _, _, program = PROGRAM.read_text().partition("\n")  # the first line is for the linter
    assert f"```python\n{program}```\n" in (PROJECT / "README.md").read_text()
