"""Who may ask.  Each advisory that another catcher had to publish is a test here or in test_security_content.py."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from ehlo.inbox.server import InboxServer, is_loopback
from ehlo.inbox.web.openapi import OPERATIONS, PREFIX
from ehlo.inbox.web.security import OWNER, Policy, Principal, host_name
from tests.inbox.web.support import Web, mail, put, serving, until

if TYPE_CHECKING:
    from collections.abc import Mapping

OURS = {"origin": "http://localhost:8026"}


# DNS rebinding: the Host field


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8026", "LOCALHOST.:1", "127.0.0.1:8026", "[::1]:8026", "192.168.1.7", "x.localhost:1"],
)
async def test_addresses_and_names_of_the_loopback_are_our_hosts(host: str) -> None:
    async with serving() as web:
        assert (await web.get("/api/v1/info", host=host)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example",
        "rebound.example:8026",
        "localhost.example",
        "127.0.0.1.example",
        "localhost@evil",
        "[::1",
        "",
        "localhost:x",
    ],
)
async def test_another_name_for_this_machine_is_refused(host: str) -> None:
    async with serving() as web:
        answer = await web.get("/api/v1/messages", host=host)
        assert (answer.status, answer.error) == (403, "forbidden_host")


async def test_a_request_without_a_host_is_refused() -> None:
    async with serving() as web:
        assert (await web.get("/api/v1/info", host=None)).status == 403


@pytest.mark.parametrize("path", ["/", "/static/index.html", "/livez", "/metrics", "/api/v1/events", "/api/v1/nothing"])
async def test_the_host_is_checked_for_whatever_is_asked(path: str) -> None:
    async with serving() as web:
        assert (await web.get(path, host="rebound.example")).status == 403


async def test_a_name_that_the_server_was_told_is_its_own() -> None:
    async with serving(hosts=["Mail.Test"]) as web:
        assert (await web.get("/api/v1/info", host="mail.test:8026")).status == 200


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a:1", "a"),
        ("A.", "a"),
        ("[::1]:1", "[::1]"),
        ("[::1]", "[::1]"),
        ("::1", None),
        ("a b", None),
        ("a/b", None),
        (":1", None),
    ],
)
def test_the_name_in_a_host_field(host: str, name: str | None) -> None:
    assert host_name(host) == name


# Requests and event streams of other origins (CVE-2026-22689 was such a stream)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://localhost:3000", "http://127.0.0.1:8026", "null", "https://"]
)
async def test_a_request_of_another_origin_is_refused(origin: str) -> None:
    async with serving() as web:
        id_ = await put(web)
        for method, path in (
            ("POST", "/inboxes"),
            ("DELETE", "/messages?all=true"),
            ("PATCH", "/messages"),
            ("GET", "/events"),
            ("GET", "/wait"),
            ("GET", "/messages"),
        ):
            answer = await web.ask(method, PREFIX + path, headers={"origin": origin})
            assert (answer.status, answer.error) == (403, "forbidden_origin"), path
        assert web.server.store.summary(id_).id == id_


async def test_a_request_of_our_own_page_is_taken() -> None:
    async with serving() as web:
        assert (await web.post("/api/v1/inboxes", {"name": "a"}, headers=OURS)).status == 201


async def test_our_own_page_behind_a_tls_proxy_is_our_own() -> None:
    async with serving(hosts=["mail.test"]) as web:
        headers = {"origin": "https://mail.test"}
        assert (await web.post("/api/v1/inboxes", {"name": "a"}, headers=headers, host="mail.test:443")).status == 201


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
        {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
    ],
)
async def test_what_another_site_loads_into_itself_is_refused(site: str, more: Mapping[str, str]) -> None:
    async with serving() as web:
        answer = await web.get("/api/v1/wait?timeout=0", headers={"sec-fetch-site": site} | dict(more))
        assert answer.error == "forbidden_origin"


async def test_a_link_on_another_site_leads_here() -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    async with serving() as web:
        assert (await web.get("/", headers=headers)).status == 200
        assert (await web.post("/", b"", headers=headers)).status == 403


async def test_no_answer_allows_another_origin_to_read_it() -> None:
    async with serving() as web:
        for method in ("GET", "OPTIONS"):
            answer = await web.ask(method, "/api/v1/info", headers=OURS)
            assert not [name for name in answer.headers if name.startswith("access-control-")]


# Tokens


async def test_with_a_token_nothing_is_told_without_it() -> None:
    async with serving(token="secret") as web:
        id_ = await put(web)
        for operation in OPERATIONS:
            path = operation.path.format(id=id_, index=0, name="default")
            answer = await web.ask(operation.method, PREFIX + path)
            assert (answer.status, answer.error) == (401, "unauthorized"), operation.name
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await web.get("/metrics")).status == 401
        assert (await web.get("/api/v1/openapi.json")).status == 401


async def test_with_a_token_page_and_health_are_there_without_it() -> None:
    async with serving(token="secret") as web:
        for path in ("/", "/static/index.html", "/livez"):
            assert (await web.get(path)).status == 200


@pytest.mark.parametrize("token", ["", "secre", "secret2", "SECRET", "sécret"])
async def test_a_wrong_token_is_refused_even_where_none_is_needed(token: str) -> None:
    for maybe_token in ("secret", None):
        async with serving(token=maybe_token) as web:
            assert (await web.get("/api/v1/info", token=token)).status == 401


async def test_the_right_token_is_enough_whatever_host_and_origin_say() -> None:
    async with serving(token="secret") as web:
        headers = {"origin": "http://ci.example"}
        assert (await web.get("/api/v1/info", token="secret", host="mail-catcher:8026", headers=headers)).status == 200


async def test_the_link_with_the_token_sets_a_cookie_and_takes_the_token_out_of_the_address() -> None:
    async with serving(token="secret") as web:
        answer = await web.get("/?token=secret")
        assert (answer.status, answer.headers["location"]) == (303, "./")
        cookie = answer.headers["set-cookie"]
        assert cookie == "ehlo_8026=secret; Path=/; HttpOnly; SameSite=Lax"
        assert (await web.get("/api/v1/info", headers={"cookie": "a=b; ehlo_8026=secret"})).status == 200
        assert (await web.get("/api/v1/info", headers={"cookie": "ehlo_8027=secret"})).status == 401


async def test_a_cookie_does_not_spare_the_check_of_host_and_origin() -> None:
    async with serving(token="secret") as web:
        headers = {"cookie": "ehlo_8026=secret"}
        assert (await web.get("/api/v1/info", headers=headers, host="evil.example")).status == 403
        assert (await web.get("/api/v1/info", headers=headers | {"origin": "http://evil.example"})).status == 403


async def test_a_wrong_token_in_the_link_sets_no_cookie() -> None:
    async with serving(token="secret") as web:
        answer = await web.get("/?token=other")
        assert answer.status == 401
        assert "set-cookie" not in answer.headers


async def test_an_empty_token_in_the_link_forgets_the_cookie() -> None:
    async with serving(token="secret") as web:
        assert "Max-Age=0" in (await web.get("/?token=")).headers["set-cookie"]


async def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare_digest(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("ehlo.inbox.web.security.hmac", SimpleNamespace(compare_digest=compare_digest))
    policy = Policy("secret", lambda _: None)
    assert policy.principal_of("guess") is None
    assert policy.principal_of("secret") is OWNER
    assert compared == [(b"guess", b"secret"), (b"secret", b"secret")]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (None, True),
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("", False),
        ("0.0.0.0", False),
        ("192.168.0.1", False),
        ("name", False),
    ],
)
def test_what_only_this_machine_can_reach(host: str | None, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_token_is_made_where_others_can_reach_the_server() -> None:
    servers = [InboxServer(SimpleNamespace(inbox_records={}), web=("", 0)) for _ in range(2)]  # type: ignore[arg-type]
    tokens = {server.token for server in servers}
    assert len(tokens) == 2
    assert all(token is not None and len(token) >= 32 for token in tokens)


@pytest.mark.parametrize("token", ["", "a b", "a;b", "a\r\nb", "ü", "a/b"])
def test_a_token_fits_into_a_link_and_a_cookie(token: str) -> None:
    with pytest.raises(ValueError, match="a token is made of"):
        InboxServer(SimpleNamespace(inbox_records={}), token=token)  # type: ignore[arg-type]


def test_on_the_loopback_no_token_is_made() -> None:
    assert InboxServer(SimpleNamespace(inbox_records={}), web=(None, 0)).token is None  # type: ignore[arg-type]


# Inboxes


async def two_inboxes(web: Web) -> tuple[str, int, int]:
    """The token of inbox ``mine``, a message in it, and one in ``other``."""
    token = (await web.post("/api/v1/inboxes", {"name": "mine"})).json["token"]
    return token, await put(web, inbox="mine"), await put(web, mail("Secret"), inbox="other")


async def test_the_token_of_an_inbox_lists_what_is_in_it_and_nothing_else() -> None:
    async with serving() as web:
        token, mine, _ = await two_inboxes(web)
        found = (await web.get("/api/v1/messages", token=token)).json
        assert [message["id"] for message in found["messages"]] == [mine]
        assert found["total"] == 1
        assert (await web.get("/api/v1/messages?q=Secret", token=token)).json["total"] == 0


@pytest.mark.parametrize("path", ["", "/raw", "/html", "/text", "/headers", "/parts/0"])
async def test_the_token_of_an_inbox_does_not_read_messages_of_others(path: str) -> None:
    async with serving() as web:
        token, _, other = await two_inboxes(web)
        answer = await web.get(f"/api/v1/messages/{other}{path}", token=token)
        nothing = await web.get(f"/api/v1/messages/999{path}", token=token)
        assert answer.status == 404
        assert answer.body == nothing.body  # not even that it is there


async def test_the_token_of_an_inbox_does_not_change_messages_of_others() -> None:
    async with serving() as web:
        token, mine, other = await two_inboxes(web)
        assert (await web.ask("PATCH", f"/api/v1/messages/{other}", {"is_read": True}, token=token)).status == 404
        assert (await web.ask("DELETE", f"/api/v1/messages/{other}", token=token)).status == 404
        changed = await web.ask("PATCH", "/api/v1/messages", {"ids": [mine, other], "is_read": True}, token=token)
        assert changed.json == {"changed": 1}
        deleted = await web.ask("DELETE", f"/api/v1/messages?ids={mine},{other}", token=token)
        assert deleted.json == {"deleted": 1}
        assert (await web.ask("DELETE", "/api/v1/messages?all=true", token=token)).json == {"deleted": 0}
        assert not web.server.store.summary(other).is_read


@pytest.mark.parametrize("path", ["messages", "wait", "events", "sessions", "export"])
async def test_the_token_of_an_inbox_cannot_name_another(path: str) -> None:
    async with serving() as web:
        token, *_ = await two_inboxes(web)
        assert (await web.get(f"/api/v1/{path}?inbox=other", token=token)).status == 404


async def test_the_token_of_an_inbox_uploads_into_it() -> None:
    async with serving() as web:
        token, *_ = await two_inboxes(web)
        headers = {"content-type": "message/rfc822"}
        answer = await web.post("/api/v1/messages", mail(), headers=headers, token=token)
        assert answer.json["inbox"] == "mine"
        assert (await web.post("/api/v1/messages?inbox=other", mail(), headers=headers, token=token)).status == 404


async def test_the_token_of_an_inbox_waits_for_its_messages_only() -> None:
    async with serving() as web:
        token, *_ = await two_inboxes(web)
        waiting = web.begin("/api/v1/wait?timeout=5", authorization=f"Bearer {token}")
        await until(lambda: web.server.hub.count(is_stream=False) == 1)
        await put(web, inbox="other")
        mine = await put(web, inbox="mine")
        found = (await waiting.answer()).json
        assert found["message"]["id"] == mine
        assert found["arrived"] == []


async def test_the_token_of_an_inbox_hears_of_its_events_only() -> None:
    async with serving() as web:
        token, mine, other = await two_inboxes(web)
        stream = web.begin("/api/v1/events", authorization=f"Bearer {token}")
        await stream.event()
        store = web.server.store
        await put(web, inbox="other")
        await asyncio.wrap_future(store.mark([other], is_read=True))
        await asyncio.wrap_future(store.delete([other]))
        await asyncio.wrap_future(store.mark([mine], is_read=True))
        event = await stream.event()
        assert (event.name, event.data["ids"]) == ("changed", [mine])
        await stream.leave()


async def test_the_token_of_an_inbox_exports_that_only() -> None:
    async with serving() as web:
        token, *_ = await two_inboxes(web)
        assert b"Secret" not in (await web.get("/api/v1/export", token=token)).body


async def test_the_token_of_an_inbox_knows_of_no_other() -> None:
    async with serving(release=["mail.example:25"]) as web:
        token, *_ = await two_inboxes(web)
        info = (await web.get("/api/v1/info", token=token)).json
        assert (info["inbox"], info["can_create_inboxes"], info["release"]) == ("mine", False, [])
        assert [inbox["name"] for inbox in info["inboxes"]] == ["mine"]
        assert [inbox["name"] for inbox in (await web.get("/api/v1/inboxes", token=token)).json["inboxes"]] == ["mine"]


async def test_the_token_of_an_inbox_is_not_the_owners() -> None:
    async with serving(release=["*:25"]) as web:
        token, mine, _ = await two_inboxes(web)
        assert (await web.post("/api/v1/inboxes", {}, token=token)).status == 403
        release = {"host": "mail.example", "port": 25}
        assert (await web.post(f"/api/v1/messages/{mine}/release", release, token=token)).status == 403
        assert (await web.get("/metrics", token=token)).status == 403
        assert (await web.ask("DELETE", "/api/v1/inboxes/other", token=token)).status == 404


async def test_an_inbox_that_is_gone_takes_its_token_along() -> None:
    async with serving() as web:
        token, *_ = await two_inboxes(web)
        assert (await web.ask("DELETE", "/api/v1/inboxes/mine", token=token)).status == 204
        assert (await web.get("/api/v1/messages", token=token)).status == 401


def test_a_principal_says_what_it_sees() -> None:
    policy = Policy(None, {"t": "mine"}.get)
    assert policy.principal_of("t") == Principal("mine")
    assert not policy.needs_token


async def test_a_token_does_not_outlive_its_inbox_in_a_wait_or_a_stream() -> None:
    async with serving() as web:
        token, *_ = await two_inboxes(web)
        bearer = {"authorization": f"Bearer {token}"}
        waiting = web.begin("/api/v1/wait?timeout=5", **bearer)
        streams = [web.begin(f"/api/v1/events{query}", **bearer) for query in ("", "?subject=a")]
        for stream in streams:
            await stream.event()
        await until(lambda: web.server.hub.count(is_stream=False) == 1)
        assert (await web.ask("DELETE", "/api/v1/inboxes/mine")).status == 204
        assert (await web.post("/api/v1/inboxes", {"name": "mine"})).status == 201
        await put(web, mail("a secret of the next owner"), inbox="mine")
        assert (await waiting.answer()).status == 404
        for stream in streams:
            assert b"secret" not in (await stream.answer()).body


# What browsers may try


async def test_there_are_no_websockets_to_hijack() -> None:
    async with serving() as web:
        headers = {
            "connection": "upgrade",
            "upgrade": "websocket",
            "sec-websocket-key": "x",
            "sec-websocket-version": "13",
        }
        answer = await web.get("/api/v1/events", headers=headers | {"origin": "http://evil.example"})
        assert answer.status == 403


async def test_a_cookie_that_is_nobodys_is_not_the_owners() -> None:
    """Who had the token of an inbox does not see everything when that inbox is gone."""
    async with serving() as web:
        made = (await web.post("/api/v1/inboxes", {"name": "team"})).json
        cookie = {"cookie": f"ehlo_8026={made['token']}"}
        assert (await web.get("/api/v1/info", headers=cookie)).json["inbox"] == "team"
        assert (await web.ask("DELETE", "/api/v1/inboxes/team")).status == 204
        for path in ("/api/v1/info", "/api/v1/messages", "/metrics"):
            answer = await web.get(path, headers=cookie)
            assert answer.status == 401
            assert answer.headers["set-cookie"].startswith("ehlo_8026=; ")
            assert "Max-Age=0" in answer.headers["set-cookie"]
        for path in ("/livez", "/static/nothing", "/?token="):
            assert (await web.get(path, headers=cookie)).status != 401
        assert (await web.get("/api/v1/info", headers={"cookie": "ehlo_8026="})).status == 200


@pytest.mark.parametrize(
    ("site", "is_forgotten"),
    [("cross-site", False), ("same-site", False), ("same-origin", True), ("none", True), (None, True)],
)
async def test_a_link_on_another_site_does_not_forget_the_cookie(site: str | None, is_forgotten: bool) -> None:
    headers = (
        {} if site is None else {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    )
    async with serving(token="secret") as web:
        answer = await web.get("/?token=", headers=headers)
        assert answer.status == 303
        assert ("set-cookie" in answer.headers) is is_forgotten
