from __future__ import annotations

from ehlo.inbox.faults import Faults, FaultsInForce

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
