from __future__ import annotations

import pytest

from ehlo.report import Mail, check
from ehlo.report.examples import added, mail

BOB = "bob@receiver.example"


def rules(one: Mail) -> set[str]:
    return {finding.rule for finding in check(one).findings}


RESENT = ("Resent-From: carl@sender.example", "Resent-Date: Mon, 2 Nov 2026 13:00:00 +0100")


@pytest.mark.parametrize(
    "value",
    [
        BOB,
        f"Bob <{BOB}>",
        f'"Dr. Bob, Inc." <{BOB}>',
        f'"bob@receiver.example" <{BOB}>',
        f"=?utf-8?q?Dr=2E_B=C3=B6b?= <{BOB}>",
        f"=?utf-8?q?Dr._B=C3=B6b?= <{BOB}>",
        f"Bob O'Hara <{BOB}>",
        f"{BOB} (Dr. Bob, Inc.)",
        "bob+tag=1@receiver.example",
        '"bob..b"@receiver.example',
        "bob@[192.0.2.1]",
        "bob@receiver",
        "undisclosed-recipients:;",
        f"Friends: Ann <a@a.example>, {BOB};",
        "ボブ <bob@日本.example>",
    ],
)
def test_a_right_address_is_left_alone(value: str) -> None:
    one = mail(to=value)

    assert rules(Mail(one.raw, mail_from="anna@sender.example", options=("SMTPUTF8",))) == set()


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("bob", "bad-address"),
        ("bob at receiver", "bad-address"),
        ("bo..b@receiver.example", "bad-address"),
        (".bob@receiver.example", "bad-address"),
        ("bob.@receiver.example", "bad-address"),
        ("bob@receiver..example", "bad-address"),
        ("bob@receiver.example.", "bad-address"),
        ("bob@@receiver.example", "bad-address"),
        ("Bob <>", "bad-address"),
        ("a@a.example b@b.example", "bad-address"),
        ("A <a@a.example> B <b@b.example>", "bad-address"),
        ("a@b.example; c@d.example;", "bad-address"),
        (f"Dr. Bob, Inc. <{BOB}>", "unquoted-name"),
        (f"a@b.example <{BOB}>", "unquoted-name"),
        (f"Bob [Sales] <{BOB}>", "unquoted-name"),
        (f"Re: Bob <{BOB}>", "unquoted-name"),
        (f'Bob "B" O"Hara <{BOB}>', "unquoted-name"),
        (f"Dr. Bob <{BOB}>", "dot-in-name"),
        (f"{BOB}, ", "address-gap"),
        (f", {BOB}", "address-gap"),
        (f"{BOB},, a@a.example", "address-gap"),
    ],
)
def test_a_wrong_address_is_found_by_one_rule(value: str, rule: str) -> None:
    for name in ("to", "cc", "reply_to"):
        assert rules(mail(**{name: value})) == {rule}
    assert rules(added(*RESENT, f"Resent-To: {value}")) == {rule}


def test_a_field_without_an_address_is_wrong() -> None:
    assert rules(mail(to="")) == {"bad-address"}


def test_the_text_names_what_is_wrong() -> None:
    (finding,) = check(mail(to="bo..b@receiver.example, carl@receiver.example")).findings

    assert finding.place == "line 7, To"
    assert finding.text == "has 'bo..b@receiver.example', which is no address: write it as local@domain"


def test_a_blind_copy_that_is_resent_is_found() -> None:
    assert rules(added(*RESENT, "Resent-Bcc: carl@receiver.example")) == {"bcc-left-in"}


@pytest.mark.parametrize(("author", "sender"), [("From", "Sender"), ("Resent-From", "Resent-Sender")])
def test_of_several_authors_one_is_the_sender(author: str, sender: str) -> None:
    resent = RESENT[1:] if author == "Resent-From" else ()
    two = "carl@sender.example, dora@sender.example"
    several = Mail(
        added(f"{author}: {two}", *resent).raw.replace(b"From: Anna <anna@sender.example>\r\n", b"", author == "From")
    )
    with_sender = several.raw.replace(b"Subject:", f"{sender}: carl@sender.example\r\nSubject:".encode())

    assert rules(several) == {"no-sender"}
    assert rules(Mail(with_sender)) == set()
    assert rules(Mail(with_sender.replace(b"carl@sender.example\r\nSubject", f"{two}\r\nSubject".encode()))) == {
        "several-senders"
    }


def test_a_blind_recipient_may_have_a_copy_that_says_so() -> None:
    raw = added("Bcc: Carl <carl@receiver.example>").raw

    assert rules(Mail(raw, "anna@sender.example", ("carl@receiver.example",))) == set()
    assert rules(Mail(raw, "anna@sender.example", ("bob@receiver.example",))) == {"bcc-left-in"}
    assert rules(Mail(raw, "anna@sender.example", ("bob@receiver.example", "carl@receiver.example"))) == {"bcc-left-in"}


def test_an_empty_bcc_is_allowed_and_noted() -> None:
    report = check(added("Bcc:"))

    assert [one.rule for one in report.findings] == ["empty-bcc"]
    assert report.is_clean
