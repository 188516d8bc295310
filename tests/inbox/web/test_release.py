from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from ehlo import serve
from ehlo.inbox.web.addresses import is_public
from ehlo.inbox.web.errors import ApiError
from ehlo.inbox.web.release import Targets, check_content
from tests.inbox.web.support import Answer, Web, mail, put, serving
from tests.support import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ehlo import Envelope, Session


@asynccontextmanager
async def real_server(handler: object) -> AsyncIterator[int]:
    async with serve(handler, "127.0.0.1", 0, hostname="mx.test") as server:
        yield server.port


async def release(web: Web, id_: int, host: str = "127.0.0.1", port: int = 25, **more: Any) -> Answer:
    return await web.post(f"/api/v1/messages/{id_}/release", {"host": host, "port": port, **more})


async def test_a_message_goes_to_a_server_that_is_allowed() -> None:
    real = Recorder()
    async with real_server(real) as port, serving(release=[f"127.0.0.1:{port}"]) as web:
        id_ = await put(web, rcpt_tos=("a@example.com", "b@example.com"))
        answer = await release(web, id_, port=port)
        assert answer.status == 200
        assert answer.json["recipients"] == ["a@example.com", "b@example.com"]
        assert answer.json["reply"].startswith("250 ")
    (envelope,) = real.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("from@example.com", ["a@example.com", "b@example.com"])
    field, _, rest = (envelope.content or b"").partition(b"\r\n")
    assert field.startswith(b"X-Ehlo-Released: ")
    assert rest == mail()


async def test_sender_and_recipients_may_be_others() -> None:
    real = Recorder()
    async with real_server(real) as port, serving(release=[f"127.0.0.1:{port}"]) as web:
        id_ = await put(web)
        assert (await release(web, id_, port=port, sender="", recipients=["me@example.com"])).status == 200
    assert (real.envelopes[0].mail_from, real.envelopes[0].rcpt_tos) == ("", ["me@example.com"])


async def test_bare_newlines_are_mended_on_the_way() -> None:
    real = Recorder()
    async with real_server(real) as port, serving(release=[f"127.0.0.1:{port}"]) as web:
        id_ = await put(web, b"Subject: a\n\nb\r")
        assert (await release(web, id_, port=port)).status == 200
    assert (real.envelopes[0].content or b"").endswith(b"Subject: a\r\n\r\nb\r\n")


# Server-side request forgery


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("127.0.0.1", 25),
        ("localhost", 2525),
        ("mail.example.com", 26),
        ("mail.example.com.evil", 25),
        ("169.254.169.254", 80),
        ("[::1]", 25),
    ],
)
async def test_no_other_server_is_connected_to(host: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(release=["mail.example.com:25"]) as web:
        id_ = await put(web)
        no_connections(monkeypatch)
        answer = await release(web, id_, host, port)
        assert (answer.status, answer.error) == (403, "forbidden_target")


async def test_without_a_rule_nothing_is_released() -> None:
    async with serving() as web:
        assert (await release(web, await put(web), "mail.example.com")).error == "forbidden_target"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "::1",
        "fe80::1",
        "fc00::1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
        "255.255.255.255",
    ],
)
async def test_a_rule_for_any_host_is_for_public_addresses_only(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_public(address)
    async with serving(release=["*:25"]) as web:
        id_ = await put(web)
        no_connections(monkeypatch)
        assert (await release(web, id_, address)).error == "forbidden_target"


async def test_a_name_that_leads_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_args: object, **_more: object) -> list[Any]:
        return [(socket.AF_INET, 1, 6, "", ("93.184.215.14", 25)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", 25))]

    async with serving(release=["*:25"]) as web:
        id_ = await put(web)
        monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", getaddrinfo)
        assert (await release(web, id_, "rebound.example")).error == "forbidden_target"


async def test_the_connection_goes_to_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_args: object, **_more: object) -> list[Any]:
        return [(socket.AF_INET, 1, 6, "", ("93.184.215.14", 25))]

    targets = Targets(["*:25"])
    monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", getaddrinfo)
    assert (await targets.find("Mail.Example.", 25)).address == "93.184.215.14"


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["a b", "a\r\nb", "user@host", "http://x", "a/b", "x" * 256, ""])
async def test_a_host_is_a_name_or_an_address(host: str) -> None:
    async with serving(release=["*:25"]) as web:
        assert (await release(web, await put(web), host)).status == 422


@pytest.mark.parametrize(
    "rule", ["mail.example.com", "mail.example.com:0", "mail.example.com:x", ":25", "a b:25", "a:99999"]
)
def test_a_rule_that_is_none_is_refused_at_the_start(rule: str) -> None:
    with pytest.raises(ValueError, match="not a server to release to"):
        Targets([rule])


def test_rules_may_be_addresses() -> None:
    assert Targets(["[::1]:25", "10.0.0.1:25", "*:587"]).rules == ("[::1]:25", "10.0.0.1:25", "*:587")


# Injection


@pytest.mark.parametrize(
    "address", ["a@example.com>\r\nRCPT TO:<evil@example.com", "a@example.com\n", "a@b\x00", "a> SIZE=1", "<a@b>"]
)
async def test_no_address_becomes_another_command(address: str) -> None:
    real = Recorder()
    async with real_server(real) as port, serving(release=[f"127.0.0.1:{port}"]) as web:
        id_ = await put(web)
        assert (await release(web, id_, port=port, recipients=[address])).status == 422
        assert (await release(web, id_, port=port, sender=address)).status == 422
    assert not real.envelopes


async def test_an_empty_recipient_and_none_are_refused() -> None:
    async with serving(release=["mail.example.com:25"]) as web:
        id_ = await put(web, rcpt_tos=())
        assert (await release(web, id_, "mail.example.com")).status == 422
        assert (await release(web, id_, "mail.example.com", recipients=[])).status == 422
        assert (await release(web, id_, "mail.example.com", recipients=[""])).status == 422


# Loops and failures


async def test_a_message_that_comes_back_is_not_released_again() -> None:
    async with serving(release=["mail.example.com:25"]) as web:
        id_ = await put(web, b"Received: x\r\nX-EHLO-released: y\r\n" + mail())
        answer = await release(web, id_, "mail.example.com")
        assert (answer.status, answer.error) == (409, "loop")


def test_what_looks_like_the_mark_in_the_text_is_none() -> None:
    check_content(mail(text="X-Ehlo-Released: x"))
    with pytest.raises(ApiError):
        check_content(b"Received: x\r\n" * 100 + b"\r\n")


async def test_tls_is_used_where_it_is_offered_whoever_signed() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("mx.test").configure_cert(context)
    versions = []

    class Handler:
        async def handle_DATA(self, server: object, session: Session, envelope: Envelope) -> None:
            versions.append(session.ssl.version if session.ssl is not None else None)

    async with (
        serve(Handler(), "127.0.0.1", 0, hostname="mx.test", tls_context=context) as server,
        serving(release=[f"127.0.0.1:{server.port}"]) as web,
    ):
        assert (await release(web, await put(web), port=server.port)).status == 200
    assert versions == ["TLSv1.3"]


async def test_what_the_other_server_cannot_take_is_not_sent() -> None:
    real = Recorder()
    async with (
        serve(real, "127.0.0.1", 0, hostname="mx.test", enable_SMTPUTF8=False) as server,
        serving(release=[f"127.0.0.1:{server.port}"]) as web,
    ):
        answer = await release(web, await put(web), port=server.port, sender="ü@example.com")
        assert answer.status == 502
    assert not real.envelopes


class Refuses:
    async def handle_RCPT(self, *_: object) -> str:
        return "550 5.1.1 No such user"


async def test_a_refusal_is_passed_on() -> None:
    async with real_server(Refuses()) as port, serving(release=[f"127.0.0.1:{port}"]) as web:
        answer = await release(web, await put(web), port=port)
        assert answer.status == 502
        assert "550 5.1.1 No such user" in answer.json["error"]["message"]


async def test_a_server_that_is_not_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    async with serving(release=[f"127.0.0.1:{port}"]) as web:
        answer = await release(web, await put(web), port=port)
    assert answer.status == 502
    assert "Errno" not in answer.json["error"]["message"], "the log says why, and no more is told"
    assert str(port) not in answer.json["error"]["message"]


async def test_an_address_beyond_ascii_needs_smtputf8() -> None:
    real = Recorder()
    async with real_server(real) as port, serving(release=[f"127.0.0.1:{port}"]) as web:
        assert (await release(web, await put(web), port=port, recipients=["ü@example.com"])).status == 200
    assert real.envelopes[0].smtp_utf8


async def test_a_message_that_is_not_there_is_not_released() -> None:
    async with serving(release=["mail.example.com:25"]) as web:
        assert (await release(web, 99, "mail.example.com")).status == 404


def no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_args: object, **_more: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr("ehlo.inbox.web.release.Client.connect", connect)
