from __future__ import annotations

import asyncio
import base64
import ssl
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from ehlo import serve
from ehlo.inbox import transcript
from ehlo.inbox.logins import AnyLogin
from ehlo.inbox.transcript import RecordingSMTP, Tape, address_text, without_credentials
from ehlo.net.client import Client as NetClient
from ehlo.report import Dialogue, Mail, check
from ehlo.settings import BareNewlines
from tests.support import Client, talk

PASSWORD = "correct horse"
PLAIN = base64.b64encode(f"\0user\0{PASSWORD}".encode()).decode()
SECRETS = [PASSWORD, PLAIN, base64.b64encode(PASSWORD.encode()).decode(), base64.b64encode(b"user").decode()]


class NoAccounts:
    def password_of(self, login: str) -> None:
        return None


def talking(**parameters: Any) -> Any:
    given: dict[str, Any] = {
        "authenticator": AnyLogin(NoAccounts()),  # type: ignore[arg-type]
        "auth_require_tls": False,
        "bare_newlines": BareNewlines.KEEP,
    }
    return talk(server_class=RecordingSMTP, **given | parameters)


def said(client: Client) -> list[str]:
    assert isinstance(client.server, RecordingSMTP)
    return [f"{line.by} {line.text}" for line in client.server.transcript()]


async def test_a_session_is_written_down_line_by_line() -> None:
    async with talking() as client:
        assert (await client.send("Subject: a", "", "..b")).startswith("250")
        await client.ask("QUIT")
        lines = said(client)
    assert lines[0].startswith("S 220 mx.test ESMTP")
    assert lines[1] == "C EHLO client.example"
    assert lines[2].startswith("S 250-mx.test")
    end = lines.index("C MAIL FROM:<from@example.com>")
    assert lines[end:-3] == [
        "C MAIL FROM:<from@example.com>",
        "S 250 2.1.0 OK",
        "C RCPT TO:<to@example.com>",
        "S 250 2.1.5 OK",
        "C DATA",
        "S 354 End data with <CR><LF>.<CR><LF>",
        "- 18 octets of mail data",
    ]
    assert lines[-2:] == ["C QUIT", "S 221 2.0.0 Bye"]


async def test_chunks_are_numbers_of_octets() -> None:
    async with talking() as client:
        await client.begin()
        await client.feed(b"BDAT 3\r\nabcBDAT 2 LAST\r\nde")
        await client.hear()
        await client.hear()
        assert [line for line in said(client) if line.startswith("-")] == [
            "- 3 octets of mail data",
            "- 2 octets of mail data",
        ]
        assert "abc" not in "".join(said(client))


async def test_mail_data_that_breaks_off_is_a_number_too() -> None:
    async with talking() as client:
        await client.begin()
        await client.ask("DATA")
        await client.say("secret text", "more", "even more")
        await client.leave()
        assert next(line for line in said(client) if line.startswith("-")).endswith("octets of mail data")
        assert "secret" not in "".join(said(client))


@pytest.mark.parametrize(("line", "is_noted"), [(".profile", True), ("..profile", False)])
async def test_a_dot_that_was_not_doubled_is_noted_for_the_report(line: str, *, is_noted: bool) -> None:
    async with talking() as client:
        assert (await client.send("Subject: a", "", line)).startswith("250")
        await client.send("Subject: b", "", "no dots")
        assert isinstance(client.server, RecordingSMTP)
        lines = client.server.transcript()
    found = check(Mail(b""), Dialogue(lines)).findings
    assert [one.place for one in found if one.rule == "undoubled-dot"] == ["command 4, DATA"] * is_noted


async def test_octets_are_kept_to_the_octet() -> None:
    async with talking() as client:
        await client.feed(b"NOOP  \xc3\xa4 \xff\x01 \r\n")
        await client.hear()
        assert isinstance(client.server, RecordingSMTP)
        (line,) = [line for line in client.server.transcript() if line.text.startswith("NOOP")]
        assert line.text.encode("utf-8", "surrogateescape") == b"NOOP  \xc3\xa4 \xff\x01 "


async def test_what_was_sent_without_waiting_is_older_than_the_reply_above_it() -> None:
    async with talking() as client:
        await client.say("NOOP a", "NOOP b")
        await client.hear()
        await client.hear()
        assert isinstance(client.server, RecordingSMTP)
        first, reply, second, _ = client.server.transcript()[-4:]
        assert (first.text, reply.by, second.text) == ("NOOP a", "S", "NOOP b")
        assert first.at == second.at <= reply.at


async def test_lines_that_are_refused_whole_are_told_of() -> None:
    async with talking() as client:
        await client.feed(b"NOOP " + b"x" * 20_000 + b"\r\n")
        await client.hear()
        await client.feed(b"NOOP a\nNOOP b\r\n")
        await client.hear()
        lines = said(client)
        assert any(line.startswith("- a line of more than") for line in lines)
        assert "- bare LF in a line" in lines
        assert "x" * 100 not in "".join(lines)


# Credentials


async def login_plain(client: Client) -> None:
    assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("235")


async def login_plain_in_two(client: Client) -> None:
    await client.ask("AUTH PLAIN")
    assert (await client.ask(PLAIN)).startswith("235")


async def login(client: Client) -> None:
    await client.ask("AUTH LOGIN")
    await client.ask(SECRETS[3])
    assert (await client.ask(SECRETS[2])).startswith("235")


async def login_at_once(client: Client) -> None:
    await client.say("AUTH LOGIN", SECRETS[3], SECRETS[2])
    for _ in range(3):
        await client.hear()


async def login_twice(client: Client) -> None:
    await login_plain(client)
    await client.say("AUTH LOGIN", SECRETS[3], SECRETS[2], PLAIN)
    for _ in range(4):
        await client.hear()


async def login_malformed(client: Client) -> None:
    for line in (
        f"AUTH PLAIN {PLAIN} {PLAIN}",
        f"AUTH {PLAIN}",
        f"AUTH  PLAIN   {PLAIN}",
        f"auth\tplain {PLAIN}",
        f"AUTHPLAIN {PLAIN}",
        f" AUTH PLAIN {PLAIN}",
        f"AUTH {PASSWORD}",
    ):
        await client.ask(line)


async def login_cancelled(client: Client) -> None:
    await client.ask("AUTH LOGIN")
    await client.ask(SECRETS[3])
    assert (await client.ask("*")).startswith("501")
    await client.ask(PLAIN)


async def other_protocols(client: Client) -> None:
    for line in (
        f"PASS {PASSWORD}",
        f"a1 LOGIN user {PASSWORD}",
        f"Authorization: Basic {PLAIN}",
        f"Cookie: session={PLAIN}",
    ):
        await client.ask(line)


async def token(client: Client) -> None:
    await client.ask(
        f"AUTH XOAUTH2 {base64.b64encode(f'user=user{chr(1)}auth=Bearer {PASSWORD}{chr(1)}{chr(1)}'.encode()).decode()}"
    )
    await client.ask("")


@pytest.mark.parametrize(
    "how",
    [
        login_plain,
        login_plain_in_two,
        login,
        login_at_once,
        login_twice,
        login_malformed,
        login_cancelled,
        other_protocols,
        token,
    ],
)
@pytest.mark.parametrize("parameters", [{}, {"authenticator": None}], ids=["offered", "not offered"])
async def test_no_credentials_are_kept_however_they_come(how: Any, parameters: dict[str, Any]) -> None:
    async with talking(**parameters, error_limit=100) as client:
        try:
            await how(client)
        except AssertionError:
            assert parameters
        lines = "\n".join(said(client))
    for secret in SECRETS:
        assert secret not in lines
    assert "octets, not kept]" in lines


async def test_what_is_no_credential_is_kept() -> None:
    async with talking() as client:
        await client.ask("AUTH LOGIN")
        await client.ask("*")
        await client.ask("AUTH PLAIN =")
        await client.ask("AUTH")
        lines = said(client)
        for line in ("C AUTH LOGIN", "C *", "C AUTH PLAIN =", "C AUTH", "S 334 VXNlcm5hbWU6"):
            assert line in lines


async def test_junk_is_kept_where_nobody_has_said_auth() -> None:
    async with talking() as client:
        await client.ask("GET / HTTP/1.1")
        assert "C GET / HTTP/1.1" in said(client)


@given(st.binary(max_size=60), st.booleans(), st.booleans())
def test_nothing_behind_auth_is_kept_but_a_known_mechanism(rest: bytes, is_command: bool, follows_auth: bool) -> None:
    kept = without_credentials(b"AUTH " + rest, is_answer=False, is_command=is_command, follows_auth=follows_auth)
    words = rest.split()
    known = bool(words) and words[0].decode("latin-1").upper() in transcript._NAMED
    if known and len(words) == 1:
        return
    for word in words[1:] if known else words:
        assert len(word) < 8 or word not in kept


# TLS


async def test_tls_is_an_event() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("mx.test").configure_cert(context)
    seen: list[list[str]] = []
    both = asyncio.Event()

    class Handler:
        async def handle_DISCONNECT(self, server: RecordingSMTP, *_: object) -> None:
            seen.append([f"{line.by} {line.text}" for line in server.transcript()])
            if len(seen) == 2:
                both.set()

    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serve(
        Handler(), "127.0.0.1", 0, protocol=RecordingSMTP, hostname="mx.test", tls_context=context
    ) as server:
        async with NetClient.connect("127.0.0.1", server.port, server_hostname="mx.test") as client:
            await client.ehlo()
            await client.starttls(trusting)
            await client.ehlo()
        async with NetClient.connect("127.0.0.1", server.port, server_hostname="other.test") as client:
            await client.ehlo()
            with pytest.raises(Exception, match="certificate"):
                await client.starttls(trusting)
        await asyncio.wait_for(both.wait(), 5)
    good, bad = seen
    at = good.index("C STARTTLS")
    assert good[at + 1] == "S 220 2.0.0 Ready to start TLS"
    assert good[at + 2].startswith("- TLS: TLSv1.")
    assert good[at + 3].startswith("C EHLO")
    assert any(line.startswith("- TLS failed: ") for line in bad)


# Bounds


def test_a_long_session_keeps_its_beginning_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "HEAD_LINES", 3)
    monkeypatch.setattr(transcript, "TAIL_LINES", 2)
    tape = Tape(0.0)
    for number in range(10):
        tape.note(number, "C", str(number).encode())
    assert [line.text for line in tape.lines()] == ["0", "1", "2", "5 lines are not kept", "8", "9"]


def test_a_session_is_bounded_in_octets_and_lines() -> None:
    tape = Tape(0.0)
    for number in range(20_000):
        tape.note(number, "C", b"x" * 5000)
        tape.note(number, "S", b"250 " + b"y" * 100 + b"\r\n")
    lines = tape.lines()
    assert len(lines) <= transcript.HEAD_LINES + transcript.TAIL_LINES + 1
    assert sum(len(line.text) for line in lines) < 2 * transcript.HEAD_OCTETS + transcript.TAIL_LINES * 5000
    assert lines[0].text.endswith("[and 904 octets more]")
    assert any(line.by == "-" and line.text.endswith("lines are not kept") for line in lines)


def test_a_reply_of_several_lines_is_several_lines() -> None:
    tape = Tape(1.0)
    tape.note(3.5, "S", b"250-a\r\n250 b\r\n")
    assert [(line.at, line.by, line.text) for line in tape.lines()] == [(2.5, "S", "250-a"), (2.5, "S", "250 b")]


@pytest.mark.parametrize(
    ("notes", "refusal"),
    [
        ([("S", b"220 a\r\n"), ("C", b"EHLO a"), ("S", b"250-a\r\n250 450 b\r\n")], None),
        ([("S", b"421 4.3.2 Full\r\n")], "The connection was refused: 421 4.3.2 Full"),
        ([("C", b"rcpt TO:<a>"), ("S", b"250 a\r\n550-b\r\n550 c\r\n451 d\r\n")], "RCPT was refused: 550 c"),
        ([("C", b""), ("S", b"500 a\r\n")], "A line was refused: 500 a"),
        (
            [("C", b"DATA"), ("-", b"9 octets"), ("S", b"554 a\r\n"), ("C", b"X"), ("S", b"500 b\r\n")],
            "DATA was refused: 554 a",
        ),
    ],
)
def test_the_first_refusal_is_known_without_a_look_at_the_lines(
    notes: list[tuple[transcript.By, bytes]], refusal: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript, "HEAD_LINES", 1)
    monkeypatch.setattr(transcript, "TAIL_LINES", 1)
    tape = Tape(0.0)
    for by, data in notes:
        tape.note(0.0, by, data)
    assert tape.maybe_refusal == refusal


@pytest.mark.parametrize(
    ("address", "text"),
    [(("127.0.0.1", 25), "127.0.0.1:25"), (("::1", 25, 0, 0), "[::1]:25"), ("", ""), ("/run/x", "/run/x"), (None, "")],
)
def test_an_address_as_text(address: object, text: str) -> None:
    assert address_text(address) == text
