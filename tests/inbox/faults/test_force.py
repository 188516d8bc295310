from __future__ import annotations

import asyncio
import smtplib
import subprocess
from typing import TYPE_CHECKING

from ehlo.inbox import Inbox
from ehlo.inbox.faults import Faults, FaultsInForce, scenario_of
from ehlo.inbox.faults.record import LIMIT
from ehlo.inbox.server import InboxServer
from ehlo.inbox.store import Store
from ehlo.net.serve import GRACE
from tests.inbox.web.support import until

if TYPE_CHECKING:
    import pytest

PORT = 2525


def named(name: str) -> dict[str, object]:
    return {"name": name, "rule": [{"verb": "NOOP", "reply": "450 4.0.0 No"}]}


def in_force(faults: Faults) -> str | None:
    scenario = faults.scenario(PORT)
    return None if scenario is None else scenario.name


def test_what_was_in_force_before_goes_on_behind_an_inner_block() -> None:
    faults = Faults()
    with FaultsInForce(faults, named("outer"), PORT):
        matcher = faults.matcher(PORT)
        with FaultsInForce(faults, named("inner"), PORT):
            assert in_force(faults) == "inner"
        assert in_force(faults) == "outer"
        assert faults.matcher(PORT) is matcher  # with the attempts that it has counted
    assert in_force(faults) is None


def test_faults_may_end_in_any_order() -> None:
    faults = Faults()
    first, second = (FaultsInForce(faults, named(name), PORT) for name in ("first", "second"))
    first.stop()
    assert in_force(faults) == "second"
    second.stop()
    second.stop()
    assert in_force(faults) is None


def test_setting_or_clearing_ends_them_all() -> None:
    faults = Faults()
    with FaultsInForce(faults, named("outer"), PORT), FaultsInForce(faults, named("inner"), PORT):
        faults.set(named("other"), port=PORT)
    assert in_force(faults) == "other"
    faults.clear(port=PORT)
    assert in_force(faults) is None


def noop(inbox: Inbox, times: int = 1) -> None:
    with smtplib.SMTP(inbox.host, inbox.port, "a.example", timeout=10) as client:
        for _ in range(times):
            client.noop()


def rules_of(faults: FaultsInForce) -> list[str]:
    return [entry.rule for entry in faults.fired]


def rule(name: str) -> dict[str, object]:
    return {"rule": [{"name": name, "verb": "NOOP", "reply": "450 4.0.0 No"}]}


def test_what_fired_is_what_these_faults_did_and_no_others() -> None:
    with Inbox() as inbox:
        with inbox.faults(rule("outer")) as outer:
            with inbox.faults(rule("inner")) as inner:
                noop(inbox)
            noop(inbox)
        with inbox.faults(rule("next")):
            noop(inbox)
        assert (rules_of(outer), rules_of(inner)) == (["outer"], ["inner"])


def test_another_inbox_does_not_displace_what_fired() -> None:
    with Inbox() as busy, busy.new() as other, busy.faults(rule("busy")) as much, other.faults(rule("other")) as little:
        noop(other)
        noop(busy, LIMIT + 1)
        assert (rules_of(little), len(much.fired)) == (["other"], LIMIT)


def test_the_search_for_regular_expressions_ends_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[subprocess.Popen[bytes]] = []

    class Kept(subprocess.Popen[bytes]):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[call-overload]
            begun.append(self)

    monkeypatch.setattr(subprocess, "Popen", Kept)
    with (
        Inbox() as inbox,
        inbox.faults({"rule": [{"verb": "EHLO", "helo": "/^a/", "reply": "450 4.0.0 No"}]}) as faults,
    ):
        noop_with_ehlo(inbox)
        assert [entry.verb for entry in faults.fired] == ["EHLO"]
        searching = begun[-1]
        assert searching.poll() is None
    assert searching.returncode is not None


def noop_with_ehlo(inbox: Inbox) -> None:
    with smtplib.SMTP(inbox.host, inbox.port, "a.example", timeout=10) as client:
        client.ehlo()


async def test_a_server_stops_though_a_rule_holds_up_a_session_and_starts_with_the_rule_again() -> None:
    scenario = scenario_of({"rule": [{"verb": "NOOP", "delay": 300}]})
    with Store() as store:
        server = InboxServer(store, smtp=("127.0.0.1", 0), web=None, is_indexed=False, faults=scenario)
        for _ in range(2):
            server.faults.log.clear()
            await server.start()
            reader, writer = await asyncio.open_connection(*server.addresses[0])
            await reader.readline()
            writer.write(b"NOOP\r\n")
            await until(lambda: server.faults.log.count == 1)
            async with asyncio.timeout(GRACE / 2):
                await server.stop()
            writer.close()
            await writer.wait_closed()
