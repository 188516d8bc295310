from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.inbox import accounts as module
from ehlo.inbox.accounts import NAME_LIMIT, Accounts, Delivery, Rule, name_of_login
from ehlo.inbox.errors import InboxTaken, TooManyInboxes
from ehlo.inbox.store import Store
from tests.inbox.support import PATIENCE, Clock, put

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Iterator[Store]:
    with Store(clock=clock) as store:
        yield store


def test_a_login_opens_an_inbox_of_its_own(store: Store) -> None:
    accounts = Accounts(store)
    assert accounts.route("Ann", ["a+x@example.com", "b@example.com"]) == (Delivery("ann", (0, 1)),)
    assert accounts.route("ann@example.com", [""]) == (Delivery("ann@example.com", (0,)),)
    assert accounts.route("ann", []) == (Delivery("ann", ()),)


def test_a_login_that_is_not_enough_leaves_it_to_the_recipients(store: Store) -> None:
    accounts = Accounts(store, is_login_enough=False)
    assert accounts.route("ann", ["a+x@example.com"]) == (Delivery("x", (0,)),)
    new = accounts.create("made")
    new.done.result(PATIENCE)
    assert accounts.route("made", ["a+x@example.com"]) == (Delivery("made", (0,)),)


@pytest.mark.parametrize(
    ("recipients", "deliveries"),
    [
        ([], {"default": ()}),
        (["bob@example.org"], {"default": (0,)}),
        (["bob+one@example.org"], {"one": (0,)}),
        (["Bob+ONE@example.org", "x+one@y"], {"one": (0, 1)}),
        (["a@x", "b+one@x", "c@x"], {"default": (0, 2), "one": (1,)}),
        (["a@team.example"], {"team": (0,)}),
        (["a+one@TEAM.example"], {"team": (0,)}),
        (["x@sub.team.example"], {"default": (0,)}),
        (["support7@x"], {"help": (0,)}),
        (["a@[192.0.2.1]"], {"literal": (0,)}),
        (["a@1"], {"default": (0,)}),
        (["a+@x", "+x@x", "a+../x@x", "a+b+c@x", "postmaster"], {"default": (0, 2, 3, 4), "x": (1,)}),
    ],
)
def test_recipients_choose_the_inbox_where_nobody_has_logged_in(
    store: Store, recipients: list[str], deliveries: dict[str, tuple[int, ...]]
) -> None:
    rules = [Rule("*@team.example", "team"), Rule("support?@*", "help"), Rule("*@[192.0.2.1]", "literal")]
    assert dict(Accounts(store, rules=rules).route(None, recipients)) == deliveries


def test_plus_addresses_can_be_switched_off(store: Store) -> None:
    assert Accounts(store, has_plus_addresses=False).inbox_of_recipient("a+x@example.com") == "default"


def test_a_new_inbox_has_a_login_a_password_and_a_token(store: Store) -> None:
    accounts = Accounts(store)
    new = accounts.create()
    new.done.result(PATIENCE)
    login, password = new.record.login, new.record.password
    assert login is not None
    assert password is not None
    assert accounts.check_password(login, password) is True
    assert accounts.check_password(login, password + "x") is False
    assert accounts.check_password("other", password) is None
    assert accounts.password_of(login) == password
    assert accounts.find_by_token(new.token) == new.record
    assert accounts.find_by_token(new.token + "x") is None
    assert accounts.find_by_token("") is None
    assert accounts.inbox_of_login(login) == new.record.name
    assert new.token not in repr(new)
    assert password not in repr(new.record)


def test_a_token_is_not_in_the_file(tmp_path: object, clock: Clock) -> None:
    with Store(clock=clock) as store:
        new = Accounts(store).create("a")
        new.done.result(PATIENCE)
        store.maintain().result(PATIENCE)
        octets = b"".join(path.read_bytes() for path in store.path.parent.iterdir() if "shm" not in path.name)
    assert b"inboxes" in octets
    assert new.token.encode() not in octets


def test_an_inbox_may_have_a_rule_for_its_recipients(store: Store) -> None:
    accounts = Accounts(store)
    new = accounts.create("team", rule="*@team.example")
    new.done.result(PATIENCE)
    assert accounts.inbox_of_recipient("any@Team.Example") == "team"
    accounts.delete("team").result(PATIENCE)
    assert accounts.inbox_of_recipient("any@team.example") == "default"


def test_an_inbox_that_has_expired_opens_for_nobody(store: Store, clock: Clock) -> None:
    accounts = Accounts(store)
    new = accounts.create("brief", ttl=60, rule="*@brief.example")
    new.done.result(PATIENCE)
    assert new.record.expires_at == clock.now + 60
    assert new.record.password is not None
    clock.now += 60
    assert accounts.find_by_token(new.token) is None
    assert accounts.check_password("brief", new.record.password) is None
    assert accounts.inbox_of_recipient("a@brief.example") == "default"


def test_a_name_is_given_once_and_never_over_mail(store: Store) -> None:
    accounts = Accounts(store)
    accounts.create("a").done.result(PATIENCE)
    put(store, inbox="b")
    for name in ("a", "b"):
        with pytest.raises(InboxTaken):
            accounts.create(name).done.result(PATIENCE)
    assert accounts.find_by_token("x") is None


@pytest.mark.parametrize("name", ["", "default", "A", "-a", "a/b", "a b", "a" * 65, "é", "a\n", "..", "%41"])
def test_a_name_that_cannot_be_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="name of an inbox"):
        Accounts(store).create(name)


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e12])
def test_a_time_that_cannot_be_is_refused(store: Store, ttl: float) -> None:
    with pytest.raises(ValueError, match="time to live"):
        Accounts(store).create("a", ttl=ttl)


@pytest.mark.parametrize("rule", ["", "no at", "*" * 250 + "@x.org", "a\n@b"])
def test_a_rule_that_cannot_be_is_refused(store: Store, rule: str) -> None:
    with pytest.raises(ValueError, match="a rule is"):
        Accounts(store).create("a", rule=rule)
    with pytest.raises(ValueError, match="a rule is"):
        Accounts(store, rules=[Rule(rule, "a")])


@pytest.mark.timeout(10)
def test_a_rule_made_to_be_slow_is_not(store: Store) -> None:
    accounts = Accounts(store, rules=[Rule("*a" * 120 + "@x", "a")])
    assert accounts.inbox_of_recipient("a" * 64 + "@" + "a" * 250) == "default"


def test_inboxes_are_not_endless(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INBOX_LIMIT", 2)
    accounts = Accounts(store)
    for _ in range(2):
        accounts.create().done.result(PATIENCE)
    with pytest.raises(TooManyInboxes):
        accounts.create()


@given(st.text(max_size=100), st.text(max_size=100))
def test_a_login_gives_a_name_that_can_be_shown_and_no_two_the_same(first: str, second: str) -> None:
    names = [name_of_login(login) for login in (first, second)]
    for name in names:
        assert 0 < len(name) <= NAME_LIMIT
        assert not set(name) & set("/\\ \n\0<>&\"'?#")
        name.encode()
    if names[0] == names[1]:
        assert (
            first.lower().encode("utf-8", "replace") == second.lower().encode("utf-8", "replace")
            or "default" in names[0]
        )
