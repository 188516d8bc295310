"""Every operation, and that what it answers is what the description says."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import jsonschema_rs
import pytest

from ehlo import __version__
from ehlo.inbox.errors import StoreError
from ehlo.inbox.records import Line, SessionRecord
from ehlo.inbox.web import app
from ehlo.inbox.web.errors import ApiError
from ehlo.inbox.web.metrics import MEDIA_TYPE, Metric, render
from ehlo.inbox.web.openapi import OPERATIONS, PREFIX
from ehlo.inbox.web.schemas import SCHEMAS
from tests.inbox.web.support import PNG, Answer, Web, mail, put, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BY_NAME = {operation.name: operation for operation in OPERATIONS}
RFC822 = {"content-type": "message/rfc822"}


async def ask(web: Web, name: str, /, body: Any = None, *, query: str = "", headers: Any = None, **path: Any) -> Answer:
    """Call an operation, and hold the answer against its description."""
    operation = BY_NAME[name]
    target = PREFIX + operation.path.format(**path) + (f"?{query}" if query else "")
    answer = await web.ask(operation.method, target, body, headers=headers)
    described = operation.answers.get(answer.status)
    if described is None:
        assert answer.status in {*operation.errors, 401, 403, 413, 422}, answer
        schema = SCHEMAS["Error"]
    elif described.schema is None:
        return answer
    else:
        schema = described.schema
    assert answer.headers["content-type"] == "application/json"
    validator = jsonschema_rs.Draft202012Validator({"components": {"schemas": SCHEMAS}, **schema})
    validator.validate(answer.json)
    return answer


# Messages


async def test_a_list_is_newest_first_and_goes_on_from_page_to_page() -> None:
    async with serving() as web:
        ids = [await put(web) for _ in range(5)]
        first = (await ask(web, "list_messages", query="limit=2")).json
        assert [message["id"] for message in first["messages"]] == [ids[4], ids[3]]
        assert (first["total"], first["unread"], first["cursor"]) == (5, 5, ids[4])
        second = (await ask(web, "list_messages", query=f"limit=2&before={ids[3]}")).json
        assert [message["id"] for message in second["messages"]] == [ids[2], ids[1]]
        newer = (await ask(web, "list_messages", query=f"after={ids[3]}")).json
        assert [message["id"] for message in newer["messages"]] == [ids[4]]


async def test_a_summary_says_what_is_known_of_a_message() -> None:
    async with serving() as web:
        await put(web, mail("Grüße", to="To <to@example.com>"), inbox="team", rcpt_tos=("bcc@example.com",))
        (message,) = (await ask(web, "list_messages", query="inbox=team&q=subject:gr%C3%BC%C3%9Fe")).json["messages"]
        assert message["subject"] == "Grüße"
        assert message["header_to"] == "To <to@example.com>"
        assert message["rcpt_tos"] == ["bcc@example.com"]
        assert message["received_at"] == "1970-01-01T00:16:40.000Z"
        assert (await ask(web, "list_messages", query="inbox=other")).json["total"] == 0


async def test_a_query_that_cannot_be_understood_says_where() -> None:
    async with serving() as web:
        answer = await ask(web, "list_messages", query="q=a+before:never")
        assert (answer.status, answer.error) == (400, "bad_query")
        assert answer.json["error"]["at"] == len("a before:")


async def test_a_message_is_all_that_is_known_of_it() -> None:
    async with serving() as web:
        raw = mail(
            text="Your code is 483920, see https://example.com/in",
            html="<img src=http://example.com/pixel>",
            attachment=("a.pdf", b"%PDF"),
        )
        id_ = await put(web, raw, mail_options=("SIZE=1",), rcpt_options=(("NOTIFY=NEVER",),), envelope_id="e-1")
        found = (await ask(web, "read_message", id=id_)).json
        assert found["codes"] == ["483920"]
        assert found["links"][0]["url"] == "https://example.com/in"
        assert found["has_remote"]
        assert ["Subject", "Hello"] in found["headers"]
        assert found["envelope"] == {
            "id": "e-1",
            "mail_from": "from@example.com",
            "rcpt_tos": ["to@example.com"],
            "mail_options": ["SIZE=1"],
            "rcpt_options": [["NOTIFY=NEVER"]],
        }
        assert [part["content_type"] for part in found["parts"]] == [
            "multipart/mixed",
            "multipart/alternative",
            "text/plain",
            "text/html",
            "application/octet-stream",
        ]


async def test_a_message_that_has_just_arrived_is_read_as_soon_as_it_is_indexed() -> None:
    async with serving(is_indexed=True) as web:
        id_ = await put(web, mail(text="the text"))
        found = (await ask(web, "read_message", id=id_)).json
        assert found["text"].strip() == "the text"
        assert found["is_indexed"]


async def test_a_message_that_cannot_be_indexed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ehlo.inbox.web.call.PARSE_SECONDS", 0.01)
    async with serving() as web:
        web.server.is_indexed = True
        found = (await ask(web, "read_message", id=await put(web))).json
        assert found["problem"] == "The message has not been looked into yet"


@pytest.mark.parametrize(
    "name", ["read_message", "raw_message", "message_html", "message_text", "message_headers", "delete_message"]
)
async def test_a_message_that_is_not_there_is_404(name: str) -> None:
    async with serving() as web:
        assert (await ask(web, name, id=7)).error == "not_found"
        assert (await ask(web, name, id="x")).error == "not_found"


async def test_the_raw_message_is_what_came_to_the_octet() -> None:
    raw = b"Subject: \xff\r\n\r\n<script>\x00\r\n" + bytes(range(256)) * 3000
    async with serving() as web:
        id_ = await put(web, raw)
        shown = await ask(web, "raw_message", id=id_)
        assert shown.body == raw
        assert shown.headers["content-type"] == "text/plain; charset=utf-8"
        assert "content-disposition" not in shown.headers
        kept = await ask(web, "raw_message", id=id_, query="download=1")
        assert kept.headers["content-disposition"] == f'attachment; filename="message-{id_}.eml"'
        assert kept.headers["content-type"] == "message/rfc822"


async def test_html_is_a_document_of_its_own() -> None:
    async with serving() as web:
        id_ = await put(web, mail(html="<b>hi</b><img src=http://example.com/x>"))
        blocked = await ask(web, "message_html", id=id_)
        assert "<b>hi</b><img>" in blocked.body.decode()
        assert "sandbox" in blocked.headers["content-security-policy"]
        assert blocked.headers["x-frame-options"] == "SAMEORIGIN"
        allowed = await ask(web, "message_html", id=id_, query="remote=1")
        assert 'src="http://example.com/x"' in allowed.body.decode()
        assert (await ask(web, "message_html", id=await put(web))).status == 404


@pytest.mark.parametrize("is_indexed", [True, False])
async def test_html_shows_the_images_of_the_message(is_indexed: bool) -> None:
    raw = (
        b"Content-Type: multipart/related; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n\r\n<img src=cid:a@b>"
        b"<img src=cid:none>\r\n--x\r\nContent-Type: image/png\r\nContent-ID: <a@b>\r\nContent-Transfer-Encoding: "
        b"base64\r\n\r\n" + base64.b64encode(PNG) + b"\r\n--x--\r\n"
    )
    async with serving(is_indexed=is_indexed) as web:
        page = (await ask(web, "message_html", id=await put(web, raw))).body.decode()
        assert f'<img src="data:image/png;base64,{base64.b64encode(PNG).decode()}"><img>' in page


async def test_text_and_headers_alone() -> None:
    async with serving() as web:
        id_ = await put(web, mail(text="Grüße"))
        assert (await ask(web, "message_text", id=id_)).body.decode().strip() == "Grüße"
        assert ["To", "to@example.com"] in (await ask(web, "message_headers", id=id_)).json
        picture = await put(web, b"Content-Type: image/png\r\n\r\nx")
        assert (await ask(web, "message_text", id=picture)).status == 404


async def test_marks_and_tags_of_one_and_of_several() -> None:
    async with serving() as web:
        ids = [await put(web, mail(f"{number}")) for number in range(3)]
        one = await ask(web, "change_message", {"is_read": True, "add_tags": ["seen"]}, id=ids[0])
        assert (one.json["is_read"], one.json["tags"]) == (True, ["seen"])
        several = await ask(web, "change_messages", {"ids": ids, "is_read": True})
        assert several.json == {"changed": 2}
        found = await ask(web, "change_messages", {"q": "tag:seen", "remove_tags": ["seen"], "is_read": False})
        assert found.json == {"changed": 1}
        everything = await ask(web, "change_messages", {"all": True, "add_tags": ["x"]})
        assert everything.json == {"changed": 3}
        assert (await ask(web, "change_message", {}, id=ids[0])).json["tags"] == ["x"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"is_read": True},
        {"ids": [1], "q": "a"},
        {"ids": [1], "all": True},
        {"all": False},
        {"ids": []},
        {"ids": ["1"]},
        {"x": 1},
        [],
        1,
    ],
)
async def test_it_is_said_which_messages_are_meant(body: Any) -> None:
    async with serving() as web:
        answer = await ask(
            web, "change_messages", json.dumps(body).encode(), headers={"content-type": "application/json"}
        )
        assert answer.status == 422


async def test_messages_are_deleted_one_by_one_by_query_or_all() -> None:
    async with serving() as web:
        ids = [await put(web, mail(f"{number}")) for number in range(6)]
        assert (await ask(web, "delete_message", id=ids[0])).status == 204
        assert (await ask(web, "delete_messages", query=f"ids={ids[1]},{ids[2]},999")).json == {"deleted": 2}
        assert (await ask(web, "delete_messages", query="q=subject:3")).json == {"deleted": 1}
        assert (await ask(web, "delete_messages", query="all=true")).json == {"deleted": 2}
        for query in ("", "all=false", "ids=1&all=true", "q="):
            assert (await ask(web, "delete_messages", query=query)).status == 422


async def test_nothing_is_deleted_without_saying_what() -> None:
    async with serving() as web:
        await put(web)
        assert (await ask(web, "delete_messages")).status == 422
        assert web.server.store.usage.messages == 1


async def test_a_message_can_be_uploaded() -> None:
    async with serving() as web:
        answer = await ask(web, "upload_message", mail("Up"), query="inbox=team", headers=RFC822)
        assert answer.status == 201
        assert (answer.json["subject"], answer.json["inbox"]) == ("Up", "team")
        assert (answer.json["mail_from"], answer.json["rcpt_tos"]) == ("from@example.com", ["to@example.com"])
        assert web.server.store.raw(answer.json["id"]) == mail("Up")


async def test_a_part_is_a_file_whose_type_the_sender_does_not_choose() -> None:
    raw = (
        b'Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html; name="../e.html"'
        b"\r\n\r\n<script>\r\n--x\r\nContent-Type: text/html\r\n\r\n" + PNG.replace(b"\r\n", b"\r\n") + b"\r\n--x--\r\n"
    )
    async with serving() as web:
        id_ = await put(web, raw)
        page = await ask(web, "message_part", id=id_, index=1)
        assert page.body == b"<script>"
        assert page.headers["content-type"] == "application/octet-stream"
        assert page.headers["content-disposition"] == 'attachment; filename="e.html"'
        assert "sandbox" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        picture = await ask(web, "message_part", id=id_, index=2)
        assert picture.headers["content-type"] == "image/png"
        assert picture.headers["content-disposition"].startswith("attachment")
        assert (await ask(web, "message_part", id=id_, index=9)).status == 404


# The rest


async def test_info_says_where_to_send() -> None:
    async with serving(smtp=("127.0.0.1", 0), release=["mail.example:25"]) as web:
        await put(web, inbox="team")
        info = (await ask(web, "info")).json
        assert info["version"] == __version__
        assert info["smtp"] == [f"127.0.0.1:{web.server.addresses[0][1]}"]
        assert info["inboxes"] == [{"name": "team", "messages": 1, "unread": 1}]
        assert (info["release"], info["auth"], info["tls"], info["is_persistent"]) == (
            ["mail.example:25"],
            "any",
            False,
            False,
        )


async def test_an_inbox_is_made_with_all_that_is_needed() -> None:
    async with serving(smtp=("127.0.0.1", 0)) as web:
        made = (await ask(web, "create_inbox", {"name": "team", "ttl": 3600})).json
        assert made["smtp"]["login"] == "team"
        assert made["smtp"]["port"] == web.server.addresses[0][1]
        assert made["link"] == f"http://localhost:8026/?token={made['token']}"
        (listed,) = (await ask(web, "list_inboxes")).json["inboxes"]
        assert (listed["name"], listed["login"], listed["expires_at"]) == ("team", "team", made["expires_at"])
        assert (await ask(web, "create_inbox", {"name": "team"})).status == 409
        assert (await ask(web, "create_inbox", {"name": "default"})).status == 409
        assert (await ask(web, "create_inbox", b"")).json["name"].startswith("inbox-")
        assert (await ask(web, "delete_inbox", name="team")).status == 204
        assert (await ask(web, "delete_inbox", name="team")).status == 404


async def test_an_inbox_made_from_elsewhere_names_the_host_that_was_asked() -> None:
    async with serving(smtp=("0.0.0.0", 0)) as web:
        made = (await web.post("/api/v1/inboxes", {}, host="192.0.2.7:8026")).json
        assert made["smtp"]["host"] == "192.0.2.7"


async def test_sessions_are_listed_without_and_shown_with_what_was_said() -> None:
    async with serving() as web:
        for number in range(3):
            record = SessionRecord(
                f"s-{number}",
                "127.0.0.1:5",
                "127.0.0.1:25",
                float(number),
                float(number + 1),
                outcome="refused" if number else "idle",
                is_refused=number > 0,
                problem="x" if number else None,
                transcript=(Line(0.5, "C", "NOOP \udcff"),),
            )
            await asyncio.wrap_future(web.server.store.put_session(record))
        listed = (await ask(web, "list_sessions", query="limit=2")).json
        assert [session["id"] for session in listed["sessions"]] == ["s-2", "s-1"]
        rest = (await ask(web, "list_sessions", query=f"limit=2&before={listed['cursor']}")).json
        assert ([session["id"] for session in rest["sessions"]], rest["cursor"]) == (["s-0"], None)
        refused = (await ask(web, "list_sessions", query="refused=true")).json["sessions"]
        assert [session["id"] for session in refused] == ["s-2", "s-1"]
        shown = (await ask(web, "read_session", id="s-1")).json
        assert shown["transcript"][0]["at"] == 0.5
        assert (await ask(web, "read_session", id="none")).status == 404


async def test_a_session_that_goes_on_is_shown_too() -> None:
    async with serving(smtp=("127.0.0.1", 0)) as web:
        reader, writer = await asyncio.open_connection(*web.server.addresses[0])
        await reader.readline()
        (session,) = (await ask(web, "list_sessions")).json["sessions"]
        assert (session["outcome"], session["ended_at"]) == ("open", None)
        shown = (await ask(web, "read_session", id=session["id"])).json
        assert shown["transcript"][0]["text"].startswith("220 ")
        assert (await ask(web, "list_sessions", query="refused=1")).json["sessions"] == []
        writer.close()


async def test_mail_goes_out_and_comes_back_as_mbox_and_as_maildir() -> None:
    async with serving() as web:
        await put(web, mail("One"))
        await put(web, mail("Two"))
        for query, media_type in (
            ("inbox=default", "application/mbox"),
            ("inbox=default&format=maildir", "application/x-tar"),
        ):
            out = await ask(web, "export", query=query)
            assert out.headers["content-type"] == media_type
            assert out.headers["content-disposition"].startswith("attachment")
            back = await ask(
                web, "import", out.body, query=f"inbox=from-{media_type[-3:]}", headers={"content-type": media_type}
            )
            assert back.json == {"imported": 2}
            found = web.server.store.list(inbox=f"from-{media_type[-3:]}").messages
            assert [web.server.store.raw(summary.id) for summary in found] == [mail("Two"), mail("One")]
            assert found[0].received_at == 1000.0
        one = await ask(web, "import", mail(), headers=RFC822)
        assert one.json == {"imported": 1}
        nothing = await ask(web, "export", query="q=subject:nothing")
        assert nothing.body == b""


@pytest.mark.parametrize(
    ("media_type", "body", "status"),
    [
        ("application/mbox", b"no mbox", 422),
        ("application/x-tar", b"no tar", 422),
        ("text/plain", b"x", 415),
        ("", b"x", 415),
        ("message/rfc822", b"", 200),
    ],
)
async def test_what_is_no_archive_is_not_imported(media_type: str, body: bytes, status: int) -> None:
    async with serving() as web:
        headers = {"content-type": media_type} if media_type else None
        assert (await ask(web, "import", body, headers=headers)).status == status


async def test_more_messages_than_wait_at_once_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ehlo.inbox.web.routes_archive.PENDING_LIMIT", 3)
    data = b"".join(b"From a@b.example Thu Jan  1 00:16:40 1970\nSubject: %d\n\n\n" % number for number in range(20))
    async with serving() as web:
        assert (await ask(web, "import", data, headers={"content-type": "application/mbox"})).json == {"imported": 20}
        assert web.server.store.usage.messages == 20


# Limits


async def test_a_body_that_is_too_large_is_refused_before_and_while_it_comes() -> None:
    async with serving(max_size=1000) as web:
        assert (
            await ask(web, "upload_message", mail(), headers=RFC822 | {"content-length": "1001"})
        ).error == "too_big"
        assert (await ask(web, "upload_message", b"x" * 1001, headers=RFC822)).error == "too_big"
        assert (await ask(web, "upload_message", b"x" * 1000, headers=RFC822)).status == 201
        assert (
            await ask(web, "change_messages", b" " * 70_000, headers={"content-type": "application/json"})
        ).status == 413
        mbox = b"From a\n" + b"x" * 1001 + b"\n"
        assert (await ask(web, "import", mbox, headers={"content-type": "application/mbox"})).status == 413


@pytest.mark.parametrize("announced", ["1001", "5000", None])
async def test_the_rest_of_a_body_that_is_too_large_is_read_before_that_is_said(announced: str | None) -> None:
    """A client that sends on meets a closed connection otherwise, and not the answer."""
    read = []

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            read.append(1000)
            yield b"x" * 1000

    request = SimpleNamespace(headers={"content-length": announced} if announced else {}, stream=chunks)
    with pytest.raises(ApiError) as caught:
        await app._receive(cast("Any", request), io.BytesIO(), 1000)
    assert caught.value.status == 413
    assert len(read) == 5


async def test_no_more_than_so_much_is_read_of_it_and_nothing_when_the_client_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "DRAIN_OCTETS", 3000)
    read = []

    async def chunks() -> AsyncIterator[bytes]:
        while True:
            read.append(1000)
            yield b"x" * 1000

    for headers, expected in (({}, 5), ({"content-length": "1001", "expect": "100-continue"}, 0)):
        read.clear()
        with pytest.raises(ApiError):
            await app._receive(cast("Any", SimpleNamespace(headers=headers, stream=chunks)), io.BytesIO(), 1000)
        assert len(read) == expected


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BODY_SECONDS", 0.01)

    class Slow:
        headers: ClassVar[dict[str, str]] = {}

        async def stream(self) -> Any:
            yield b"x"
            await asyncio.sleep(60)

    with pytest.raises(ApiError) as caught:
        await app._receive(Slow(), io.BytesIO(), None)  # type: ignore[arg-type]
    assert caught.value.status == 408


async def test_a_request_that_names_too_many_messages_is_refused() -> None:
    async with serving() as web:
        assert (await ask(web, "change_messages", {"ids": [1] * 1001, "is_read": True})).status == 422


async def test_another_method_is_405_and_says_which_there_are() -> None:
    async with serving() as web:
        answer = await web.ask("PUT", "/api/v1/messages")
        assert answer.status == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "PATCH", "DELETE"}
        assert (await web.ask("POST", "/livez")).status == 405
        assert (await web.ask("TRACE", "/")).status == 405


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api",
        "/api/v1",
        "/api/v1/messages/",
        "/static/",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/app.py",
        "//",
        "/index.html",
    ],
)
async def test_what_is_not_there_is_404(path: str) -> None:
    async with serving() as web:
        answer = await web.get(path)
        assert (answer.status, answer.error) == (404, "not_found")


async def test_head_is_get_without_a_body_also_of_a_stream() -> None:
    async with serving() as web:
        for path in ("/api/v1/info", "/api/v1/events", "/", "/livez"):
            assert (await web.ask("HEAD", path)).status == 200


# The page, and what operators ask


async def test_page_and_assets_have_a_strict_policy_and_are_asked_for_again() -> None:
    async with serving() as web:
        for path, media_type in (
            ("/", "text/html; charset=utf-8"),
            ("/static/favicon.svg", "image/svg+xml"),
            ("/favicon.ico", "image/svg+xml"),
        ):
            answer = await web.get(path)
            assert answer.headers["content-type"] == media_type
            policy = answer.headers["content-security-policy"]
            assert "unsafe" not in policy
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert answer.headers["cache-control"] == "no-cache"
            again = await web.get(path, headers={"if-none-match": answer.headers["etag"]})
            assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", ["/", "/api/v1/info", "/api/v1/none", "/metrics", "/livez"])
async def test_every_answer_has_the_headers_that_keep_browsers_in_bounds(path: str) -> None:
    async with serving() as web:
        headers = (await web.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"


async def test_the_description_is_served() -> None:
    async with serving() as web:
        described = (await web.get("/api/v1/openapi.json")).json
        assert described["openapi"] == "3.1.0"
        assert set(described["paths"]) == {operation.path for operation in OPERATIONS}


async def test_metrics_are_counters_and_gauges() -> None:
    async with serving() as web:
        await put(web)
        answer = await web.get("/metrics")
        assert answer.headers["content-type"] == MEDIA_TYPE
        lines = answer.body.decode().splitlines()
        assert "ehlo_inbox_messages 1" in lines
        assert "# TYPE ehlo_smtp_messages_accepted_total counter" in lines
        assert all(line.startswith("#") or len(line.split()) == 2 for line in lines)


def test_a_metric_is_three_lines() -> None:
    assert render([Metric("a", "gauge", "What.", 2.5)]) == "# HELP a What.\n# TYPE a gauge\na 2.5\n"


async def test_health_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(smtp=("127.0.0.1", 0)) as web:
        assert (await web.get("/livez")).body == b"ok\n"
        assert (await web.get("/readyz")).status == 200

        def fail(*_: object, **__: object) -> None:
            raise StoreError("broken")

        monkeypatch.setattr(web.server.store, "list", fail)
        assert (await web.get("/readyz")).status == 503
        assert (await web.get("/livez")).status == 200
        assert (await web.get("/api/v1/messages")).status == 507
    async with serving() as web:
        assert (await web.get("/readyz")).status == 503  # nobody listens


async def test_a_failure_of_ours_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as web:

        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError("secret")

        monkeypatch.setattr(web.server.store, "list", fail)
        with pytest.raises(ZeroDivisionError):  # passed on to the web server, which logs it
            await web.get("/api/v1/messages")
