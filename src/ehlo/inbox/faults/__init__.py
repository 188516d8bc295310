"""Faults on purpose: a server that refuses, stalls and breaks off exactly where a test asks for it.

``scenario`` reads what a ``rule`` is, ``combining`` refuses what contradicts itself, ``matching`` says which fires,
``acting`` does what it says, ``handler`` joins them with any handler by hooks that everybody has, ``record`` keeps what
happened.
"""

from __future__ import annotations

from ehlo.inbox.faults.force import FaultsInForce
from ehlo.inbox.faults.handler import FaultHandler, Faults
from ehlo.inbox.faults.record import FaultLog, Fired
from ehlo.inbox.faults.rule import Rule, Scenario
from ehlo.inbox.faults.scenario import (
    ScenarioError,
    parse_scenario,
    ready_names,
    ready_text,
    scenario_of,
)

__all__ = [
    "FaultHandler",
    "FaultLog",
    "Faults",
    "FaultsInForce",
    "Fired",
    "Rule",
    "Scenario",
    "ScenarioError",
    "parse_scenario",
    "ready_names",
    "ready_text",
    "scenario_of",
]
