from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.report.mailboxes import Mailboxes, read_mailboxes

BOB = "bob@receiver.example"


def addresses(value: str) -> list[str]:
    return [one.address for one in read_mailboxes(value).members]


@pytest.mark.parametrize(
    ("value", "name", "address"),
    [
        (BOB, "", BOB),
        (f"<{BOB}>", "", BOB),
        (f"Bob <{BOB}>", "Bob", BOB),
        (f"Bob<{BOB}>", "Bob", BOB),
        (f'"Bob, Inc." <{BOB}>', '"Bob, Inc."', BOB),
        (rf'"Bob \"B\", Inc." <{BOB}>', r'"Bob \"B\", Inc."', BOB),
        (f"{BOB} (Bob, the (other) one)", "", BOB),
        (rf'(it\)s, "Bob) Bob <{BOB}> (x', "Bob", BOB),
        ('"a,b"@receiver.example', "", '"a,b"@receiver.example'),
        ('Bob <"a>b"@receiver.example>', "Bob", '"a>b"@receiver.example'),
        ("bob@[IPv6:2001:db8::1]", "", "bob@[IPv6:2001:db8::1]"),
        (f"ボブ <{BOB}>", "ボブ", BOB),
        (f"Bob < {BOB} >", "Bob", BOB),
    ],
)
def test_a_mailbox_has_a_name_and_an_address(value: str, name: str, address: str) -> None:
    mailboxes = read_mailboxes(value)

    assert [(one.name, one.address, one.rest) for one in mailboxes.members] == [(name, address, "")]
    assert mailboxes._replace(members=()) == Mailboxes((), 0, 0, has_groups=False, is_group_open=False)


def test_commas_part_mailboxes() -> None:
    assert addresses(f"a@a.example,B <b@b.example> , {BOB}") == ["a@a.example", "b@b.example", BOB]


def test_a_group_is_dissolved() -> None:
    mailboxes = read_mailboxes("Friends: a@a.example, B <b@b.example>;, c@c.example, Nobody:;")

    assert [one.address for one in mailboxes.members] == ["a@a.example", "b@b.example", "c@c.example"]
    assert mailboxes.has_groups
    assert (mailboxes.gaps, mailboxes.semicolons, mailboxes.is_group_open) == (0, 0, False)


def test_a_group_that_does_not_end_is_open() -> None:
    assert read_mailboxes(f"Re: Bob <{BOB}>").is_group_open


def test_a_semicolon_that_ends_no_group_is_counted() -> None:
    assert read_mailboxes("a@a.example; b@b.example").semicolons == 1


@pytest.mark.parametrize(
    ("value", "gaps"), [("", 0), (BOB, 0), (f"{BOB},", 1), (f",{BOB}", 1), (f"{BOB},, {BOB}", 1), (",", 2), ("(x)", 0)]
)
def test_members_without_anything_are_counted(value: str, gaps: int) -> None:
    assert read_mailboxes(value).gaps == gaps


def test_what_stands_behind_the_brackets_is_the_rest() -> None:
    (mailbox,) = read_mailboxes("A <a@a.example> B <b@b.example>").members

    assert (mailbox.address, mailbox.rest) == ("a@a.example", "B <b@b.example>")


@pytest.mark.parametrize(
    ("address", "domain"), [("a@B.Example", "b.example"), ('"a@b"@c.example', "c.example"), ("a", "")]
)
def test_a_domain_stands_behind_the_last_at(address: str, domain: str) -> None:
    assert read_mailboxes(address).members[0].domain == domain


@given(st.text(st.sampled_from(list('ab@.,:;<>()[]"\\ ')), max_size=40))
def test_nothing_raises_and_nothing_outside_of_comments_is_lost(value: str) -> None:
    mailboxes = read_mailboxes(value)

    if not set(value) & set('(:;,<"\\'):
        assert "".join(one.address for one in mailboxes.members) == value.strip()


@pytest.mark.parametrize("piece", ['"', "\\", '"\\', '\\"', "(", "<", '<"', "[", "<a@b>,", "a:", ";"])
def test_a_long_list_takes_time_in_proportion(piece: str) -> None:
    read_mailboxes(piece * 200_000)


def test_long_names_before_many_colons_take_no_longer() -> None:
    read_mailboxes('"x"' * 100_000 + "@" + ":" * 100_000)
