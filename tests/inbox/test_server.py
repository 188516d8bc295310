"""The inbox as a whole, over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import smtplib
import socket
import ssl
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ehlo.credentials import password_line
from ehlo.inbox.certificate import own_certificate
from ehlo.inbox.criteria import Criteria
from ehlo.inbox.server import InboxServer, MissingExtra
from ehlo.inbox.store import Store
from ehlo.inbox.users import UserFile
from tests.inbox.web.support import mail, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCAL = ("127.0.0.1", 0)


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as store:
        yield store


def server_of(store: Store | None = None, **options: Any) -> InboxServer:
    given: dict[str, Any] = {"smtp": LOCAL, "web": None, "is_indexed": False}
    return InboxServer(store, **given | options)


async def http(
    server: InboxServer, method: str, path: str, *, tls: ssl.SSLContext | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own."""
    assert server.web_url is not None
    authority = server.web_url.split("/")[2]
    host, _, port = authority.rpartition(":")
    reader, writer = await asyncio.open_connection(
        host.strip("[]"), int(port), ssl=tls, server_hostname="localhost" if tls else None
    )
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(10):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *fields = head.decode().split("\r\n")
    return (
        int(first.split()[1]),
        {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)},
        body,
    )


def send(server: InboxServer, *, login: tuple[str, str] | None = None, port: int | None = None) -> None:
    with smtplib.SMTP("127.0.0.1", port or server.addresses[0][1]) as client:
        if login is not None:
            client.login(*login)
        client.sendmail("a@example.com", ["b@example.com"], mail().decode())


async def in_thread(function: Any, *args: Any, **more: Any) -> Any:
    return await asyncio.to_thread(function, *args, **more)


async def test_mail_that_is_sent_is_found_by_the_web_in_the_same_loop() -> None:
    async with server_of(web=LOCAL) as server:
        waiting = asyncio.ensure_future(http(server, "GET", "/api/v1/wait?to=b@&timeout=10"))
        await until(lambda: server.hub.count(is_stream=False) == 1)
        await in_thread(send, server)
        status, headers, body = await waiting
        assert (status, headers["content-type"]) == (200, "application/json")
        assert json.loads(body)["message"]["rcpt_tos"] == ["b@example.com"]
        assert "server" not in headers
        assert server.stats.messages_accepted == 1
        assert server.catcher.count == 1


async def test_head_has_no_body() -> None:
    async with server_of(web=LOCAL) as server:
        assert (await http(server, "HEAD", "/api/v1/info"))[::2] == (200, b"")


async def test_a_client_that_hangs_up_frees_its_waiter() -> None:
    async with server_of(web=LOCAL) as server:
        assert server.web_url is not None
        port = int(server.web_url.split(":")[2].strip("/"))
        for path in ("wait?timeout=300", "events"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            is_stream = path == "events"
            for expected in (1, 0):
                await until(lambda: server.hub.count(is_stream=is_stream) == expected)  # noqa: B023 - called at once
                writer.close()


async def test_a_slow_answer_of_the_web_keeps_nobody_from_sending(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    gate = threading.Event()
    real = store.list

    def slow(*args: Any, **more: Any) -> Any:
        gate.wait(10)
        return real(*args, **more)

    monkeypatch.setattr(store, "list", slow)
    async with server_of(store, web=LOCAL) as server:
        listing = asyncio.ensure_future(http(server, "GET", "/api/v1/messages"))
        await asyncio.sleep(0.02)
        await in_thread(send, server)
        assert not listing.done()
        gate.set()
        assert json.loads((await listing)[2])["total"] == 1


async def test_the_web_starts_and_stops_without_touching_signal_handlers() -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    async with server_of(web=LOCAL):
        assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGINT) is before


async def test_an_address_that_is_taken_leaves_nothing_behind(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for where in ({"smtp": ("127.0.0.1", port)}, {"web": ("127.0.0.1", port)}):
            server = server_of(store, **{"web": LOCAL, **where})
            with pytest.raises(OSError, match="in use"):
                await server.start()
            assert server.web_url is None
            assert server.addresses == []


async def test_it_starts_again_after_it_has_stopped(store: Store) -> None:
    server = server_of(store, web=LOCAL)
    for _ in range(2):
        await server.start()
        with pytest.raises(RuntimeError):
            await server.start()
        await in_thread(send, server)
        await server.stop()
        await server.stop()
    assert store.usage.messages == 2
    assert server.stats.messages_accepted == 2


async def test_without_its_extra_the_page_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "ehlo.inbox.web.serving", raising=False)
    server = server_of(web=LOCAL)
    with pytest.raises(MissingExtra, match=r"pip install 'ehlo\[inbox\]'"):
        await server.start()


async def test_serving_ends_when_somebody_stops_it() -> None:
    async with server_of() as server:
        serving = asyncio.ensure_future(server.serve_forever())
        await asyncio.sleep(0)
        await server.stop()
        await serving


async def test_hurrying_lets_open_transactions_go() -> None:
    server = server_of()
    await server.start()
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    await reader.readline()
    writer.write(b"EHLO a\r\nMAIL FROM:<a@b.example>\r\n")
    async with asyncio.timeout(5):
        while b"2.1.0" not in await reader.readline():
            pass
    assert len(server.connections) == 1
    stopping = asyncio.ensure_future(server.stop(grace=60))
    await asyncio.sleep(0.02)
    assert not stopping.done()
    server.hurry()
    async with asyncio.timeout(5):
        await stopping
    writer.close()


# Limits


async def test_mail_data_is_limited_and_said_to_be(store: Store) -> None:
    async with server_of(store, max_size=2000) as server:

        def send_too_much() -> tuple[str, int]:
            with smtplib.SMTP("127.0.0.1", server.addresses[0][1]) as client:
                client.ehlo()
                client.mail("a@example.com")
                client.rcpt("b@example.com")
                return client.esmtp_features["size"], client.data(b"x" * 2001)[0]

        assert await in_thread(send_too_much) == ("2000", 552)
        assert store.usage.messages == 0
        await asyncio.wrap_future(store.maintain())
        await until(lambda: len(store.sessions()) == 1)
        (session,) = store.sessions()
        assert (session.outcome, session.is_refused) == ("refused", True)
        assert "552" in (session.problem or "")


async def test_a_command_without_an_end_is_not_kept(store: Store) -> None:
    async with server_of(store) as server:
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        await reader.readline()
        writer.write(b"EHLO " + b"x" * 1_000_000 + b"\r\n")
        assert (await reader.readline()).startswith(b"500 ")
        (record,) = server.open_sessions()
        found = server.session(record.id)
        assert found is not None
        assert sum(len(line.text) for line in found.transcript) < 1000
        writer.close()


# Logins


async def test_any_login_opens_an_inbox_of_its_own(store: Store) -> None:
    async with server_of(store) as server:
        await in_thread(send, server, login=("anna", "whatever"))
        await in_thread(send, server, login=("ben", "whatever"))
        assert sorted(summary.inbox for summary in store.list().messages) == ["anna", "ben"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("auth", ["any", "users"])
async def test_the_login_of_an_inbox_needs_its_password(store: Store, mechanism: str, auth: str) -> None:
    async with server_of(store, auth=auth) as server:
        made = server.accounts.create("team")
        await asyncio.wrap_future(made.done)
        password = made.record.password
        assert password is not None

        def log_in(login: str, password: str) -> int:
            with smtplib.SMTP("127.0.0.1", server.addresses[0][1]) as client:
                client.ehlo()
                client.user, client.password = login, password
                name = "auth_" + mechanism.lower().replace("-", "_")
                try:
                    return int(client.auth(mechanism, getattr(client, name))[0])
                except smtplib.SMTPAuthenticationError as error:
                    return error.smtp_code

        assert await in_thread(log_in, "team", password) == 235
        assert await in_thread(log_in, "team", "wrong") == 535
        assert await in_thread(log_in, "TEAM", "wrong") == 535  # which would open the same inbox
        assert await in_thread(log_in, "other", "wrong") == (235 if auth == "any" else 535)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
async def test_the_users_of_a_file_need_their_passwords(store: Store, tmp_path: Path, mechanism: str) -> None:
    path = tmp_path / "users"
    path.write_text(f"# who\n\nann:s3:cret\n{password_line('bob', 'other', iterations=4096)}\n")
    path.chmod(0o600)
    async with server_of(store, auth="users", users=UserFile(path)) as server:

        def log_in(login: str, password: str) -> int:
            with smtplib.SMTP("127.0.0.1", server.addresses[0][1]) as client:
                client.ehlo()
                client.user, client.password = login, password
                name = "auth_" + mechanism.lower().replace("-", "_")
                try:
                    return int(client.auth(mechanism, getattr(client, name))[0])
                except smtplib.SMTPAuthenticationError as error:
                    return error.smtp_code

        assert await in_thread(log_in, "ann", "s3:cret") == 235
        assert await in_thread(log_in, "ann", "wrong") == 535
        assert await in_thread(log_in, "nobody", "s3:cret") == 535
        assert await in_thread(log_in, "bob", "other") == (535 if mechanism == "CRAM-MD5" else 235)


async def test_mechanisms_are_those_that_can_be_honoured(store: Store) -> None:
    for auth, expected in (
        ("any", "OAUTHBEARER XOAUTH2 CRAM-MD5 PLAIN LOGIN"),
        ("users", "SCRAM-SHA-256 OAUTHBEARER XOAUTH2 CRAM-MD5 PLAIN LOGIN"),
    ):
        async with server_of(store, auth=auth) as server:

            def offered(server: InboxServer = server) -> str:
                with smtplib.SMTP("127.0.0.1", server.addresses[0][1]) as client:
                    client.ehlo()
                    return client.esmtp_features["auth"].strip()

            assert await in_thread(offered) == expected


# Listeners of inboxes


async def test_a_listener_of_an_inbox_takes_mail_for_it_alone(store: Store) -> None:
    async with server_of(store, smtp=None) as server:
        first, second = await server.open_listener("one"), await server.open_listener("two")
        await in_thread(send, server, port=first)
        await in_thread(send, server, port=second, login=("anna", "x"))
        assert {summary.inbox for summary in store.list().messages} == {"one", "two"}
        assert server.addresses == []
        await server.close_listener(first)
        with pytest.raises(ConnectionRefusedError):
            await in_thread(send, server, port=first)
        assert server.stats.messages_accepted == 2
        with pytest.raises(KeyError):
            await server.close_listener(first)


async def test_a_session_that_goes_on_can_be_looked_at(store: Store) -> None:
    async with server_of(store) as server:
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        await reader.readline()
        (record,) = server.open_sessions()
        assert record.transcript == ()
        found = server.session(record.id)
        assert found is not None
        assert found.transcript[0].by == "S"
        writer.write(b"QUIT\r\n")
        await reader.read()
        writer.close()
        await until(lambda: not server.open_sessions())
        await asyncio.wrap_future(store.maintain())
        ended = server.session(record.id)
        assert ended is not None
        assert ended.ended_at is not None
        assert server.session("none") is None


async def test_the_python_api_waits_too(store: Store) -> None:
    async with server_of(store) as server:
        task = asyncio.ensure_future(server.wait(Criteria(to="b@"), timeout=5))
        await in_thread(send, server)
        found = await task
        assert found.summary is not None
        assert found.summary.mail_from == "a@example.com"


# TLS


async def test_tls_is_ready_to_try(store: Store, tmp_path: Path) -> None:
    certificate = own_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=certificate.authority)
    context = certificate.context()
    async with server_of(store, smtps=LOCAL, tls_context=context, web=LOCAL, web_tls=certificate.context()) as server:

        def send_both() -> None:
            with smtplib.SMTP("localhost", server.addresses[0][1]) as client:
                client.starttls(context=trusting)
                client.sendmail("a@example.com", ["b@example.com"], b"Subject: a\r\n\r\n")
            port = int(server.smtps_addresses[0].rpartition(":")[2])
            with smtplib.SMTP_SSL("localhost", port, context=trusting) as client:
                client.sendmail("a@example.com", ["b@example.com"], b"Subject: b\r\n\r\n")

        await in_thread(send_both)
        assert store.usage.messages == 2
        assert server.web_url is not None
        assert server.web_url.startswith("https://")
        status, _, body = await http(server, "GET", "/api/v1/info", tls=trusting)
        assert (status, json.loads(body)["tls"]) == (200, True)
    await asyncio.wrap_future(store.maintain())
    assert all((session.tls or "").startswith("TLSv1.") for session in store.sessions())


def test_implicit_tls_needs_a_certificate(store: Store) -> None:
    with pytest.raises(ValueError, match="tls_context"):
        server_of(store, smtps=LOCAL)


async def test_a_token_is_part_of_the_link(store: Store) -> None:
    async with server_of(store, web=LOCAL, token="secret") as server:
        assert server.web_link == f"{server.web_url}?token=secret"
        assert (await http(server, "GET", "/api/v1/info"))[0] == 401
    async with server_of(store, web=LOCAL) as server:
        assert server.web_link == server.web_url


async def test_the_log_does_not_hold_a_token(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with server_of(store, web=LOCAL, token="sesame-123") as server:
        await http(server, "GET", "/?token=sesame-123")
    assert "sesame-123" not in caplog.text
