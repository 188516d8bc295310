"""Faults by the API: they begin, fire, are told of, and end."""

from __future__ import annotations

import smtplib
from typing import TYPE_CHECKING

from tests.inbox.web.support import serving
from tests.inbox.web.test_api import ask

if TYPE_CHECKING:
    from tests.inbox.web.support import Web

TOML = """
name = "mine"
[[rule]]
name = "no bob"
verb = "RCPT"
recipient = "bob@*"
reply = "550 5.1.1 No Bob"
"""


async def send(web: Web) -> int:
    port = web.server.addresses[0][1]

    def talk() -> int:
        with smtplib.SMTP("127.0.0.1", port, "a.example", timeout=10) as client:
            client.ehlo()
            client.mail("ann@example.com")
            return client.rcpt("bob@example.com")[0]

    return int(await web.server.run(talk))


async def test_at_first_there_are_none_but_some_are_ready() -> None:
    async with serving() as web:
        faults = (await ask(web, "read_faults")).json
    assert faults["scenario"] is None
    assert faults["count"] == 0
    assert [scenario["name"] for scenario in faults["ready"]] == [
        "exchange-like",
        "flaky",
        "greylisting",
        "overloaded",
        "strict",
    ]
    assert all(scenario["toml"] and scenario["description"] for scenario in faults["ready"])


async def test_faults_begin_fire_and_end() -> None:
    async with serving(smtp=("127.0.0.1", 0)) as web:
        answer = await ask(web, "set_faults", {"toml": TOML})
        assert answer.json["scenario"]["rules"] == [
            {"name": "no bob", "verbs": ["RCPT"], "act": "reply 550 5.1.1 No Bob"}
        ]
        assert answer.json["scenario"]["toml"] == TOML
        assert await send(web) == 550
        fired = (await ask(web, "list_fired")).json
        assert fired["count"] == 1
        entry = fired["fired"][0]
        assert (entry["scenario"], entry["rule"], entry["verb"]) == ("mine", "no bob", "RCPT")
        assert entry["acts"] == [{"at": entry["at"], "text": "reply 550 5.1.1 No Bob"}]
        assert (entry["sender"], entry["recipients"]) == ("ann@example.com", ["bob@example.com"])
        assert (await ask(web, "clear_faults")).status == 204
        assert await send(web) == 250
        assert (await ask(web, "read_faults")).json["scenario"] is None


async def test_the_newest_fired_come_first_and_no_more_than_asked_for() -> None:
    async with serving(smtp=("127.0.0.1", 0)) as web:
        await ask(web, "set_faults", {"toml": TOML})
        await send(web)
        await ask(web, "set_faults", {"toml": TOML.replace("mine", "other")})
        await send(web)
        both = (await ask(web, "list_fired")).json["fired"]
        assert [entry["scenario"] for entry in both] == ["other", "mine"]
        one = (await ask(web, "list_fired", query="limit=1")).json
        assert ([entry["scenario"] for entry in one["fired"]], one["count"]) == (["other"], 2)


async def test_a_ready_scenario_is_set_by_its_name() -> None:
    async with serving() as web:
        assert (await ask(web, "set_faults", {"name": "flaky"})).json["scenario"]["name"] == "flaky"


async def test_what_cannot_be_is_refused_by_name_and_place_and_changes_nothing() -> None:
    async with serving() as web:
        await ask(web, "set_faults", {"name": "flaky"})
        for body, complaint in (
            ({"toml": "[[rule]]\nreplly = 'x'"}, "rule 1: there is no key 'replly'"),
            ({"name": "stormy"}, "there is no scenario 'stormy'"),
            ({}, "One of name and toml"),
            ({"name": "flaky", "toml": TOML}, "One of name and toml"),
        ):
            answer = await ask(web, "set_faults", body)
            assert answer.status == 422
            assert complaint in answer.json["error"]["message"]
        assert (await ask(web, "read_faults")).json["scenario"]["name"] == "flaky"
