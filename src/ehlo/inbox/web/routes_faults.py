"""Faults on purpose: which are in force on all listeners, and what fired.  For the owner only: all are concerned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from ehlo.inbox.faults import Scenario, ScenarioError, parse_scenario, ready_names, ready_text
from ehlo.inbox.web import output
from ehlo.inbox.web.errors import invalid
from ehlo.inbox.web.output import Json

if TYPE_CHECKING:
    from ehlo.inbox.web.call import Call, Routes


async def read_faults(call: Call) -> Response:
    """What is in force, and what could be."""
    return await _answer(call)


async def set_faults(call: Call) -> Response:
    """Begin with a scenario; nothing changes if it is none."""
    body: dict[str, str] = call.body
    if len(body) != 1:
        raise invalid("One of name and toml is expected")
    try:
        text = await call.run(ready_text, body["name"]) if "name" in body else body["toml"]
        call.server.faults.set(await call.run(parse_scenario, text))
    except ScenarioError as error:
        raise invalid(str(error)) from None
    return await _answer(call)


async def clear_faults(call: Call) -> Response:
    """No faults any more."""
    call.server.faults.clear()
    return Response(status_code=204)


async def list_fired(call: Call) -> Response:
    """Newest first; those of single inboxes too."""
    log = call.server.faults.log
    newest = log.entries()[: -call["limit"] - 1 : -1]
    fired = [
        {
            "at": output.time_text(entry.at),
            "scenario": entry.scenario,
            "rule": entry.rule,
            "act": entry.act,
            "acts": [{"at": output.time_text(act.at), "text": act.text} for act in entry.acts],
            "verb": entry.verb,
            "session_id": entry.session_id,
            "sender": entry.sender,
            "recipients": list(entry.recipients),
        }
        for entry in newest
    ]
    return Json({"fired": fired, "count": log.count})


ROUTES: Routes = {function.__name__: function for function in (read_faults, set_faults, clear_faults, list_fired)}


async def _answer(call: Call) -> Response:
    faults = call.server.faults
    maybe_scenario = faults.scenario()
    return Json(
        {
            "scenario": None if maybe_scenario is None else _described(maybe_scenario),
            "ready": [_described(scenario) for scenario in await call.run(_ready)],
            "count": faults.log.count,
        }
    )


def _ready() -> list[Scenario]:
    return [parse_scenario(ready_text(name)) for name in ready_names()]


def _described(scenario: Scenario) -> dict[str, Any]:
    return {
        "name": scenario.name,
        "description": " ".join(scenario.description.split()),
        "toml": scenario.text,
        "rules": [{"name": rule.name, "verbs": sorted(rule.verbs), "act": rule.describe()} for rule in scenario.rules],
    }
