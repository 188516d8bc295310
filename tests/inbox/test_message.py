from __future__ import annotations

import copy
import pickle
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.inbox.message import Attachment, Message
from ehlo.inbox.records import EnvelopeRecord, SessionRecord

ENVELOPE = EnvelopeRecord("e1", "ann@a.example", ("bob@b.example",), (), ((),), bare_newlines=False, smtp_utf8=False)


def message_of(raw: bytes, **more: Any) -> Message:
    facts: dict[str, Any] = {"id": 7, "envelope": ENVELOPE}
    return Message.from_octets(raw, **(facts | more))


@pytest.fixture
def message() -> Message:
    made = EmailMessage()
    made["From"] = "Ann <ann@a.example>"
    made["To"] = "Bob <bob@b.example>"
    made["Subject"] = "Grüße"
    made.set_content("Your code is 482913.\nhttps://app.example/confirm?token=a\n")
    made.add_alternative('<p>Hi <a href="https://app.example/in">sign in</a></p>', subtype="html")
    made.add_attachment(b"\x00\x01", "application", "pdf", filename="../x.pdf")
    return message_of(made.as_bytes())


def test_it_is_a_message_of_the_standard_library(message: Message) -> None:
    assert isinstance(message, EmailMessage)
    assert message["Subject"] == "Grüße"
    assert message["To"].addresses[0].display_name == "Bob"
    assert message.get_body(("html",)) is not None
    assert type(next(message.iter_attachments())) is EmailMessage


def test_what_is_in_it_is_at_hand(message: Message) -> None:
    assert message.text.startswith("Your code is 482913.\n")
    assert "sign in</a>" in message.html
    assert message.codes == ["482913"]
    assert set(message.links) == {"https://app.example/in", "https://app.example/confirm?token=a"}
    assert message.attachments == [Attachment("../x.pdf", "application/pdf", None, b"\x00\x01")]


def test_a_link_is_a_str_with_the_text_that_it_is_shown_with(message: Message) -> None:
    link = next(link for link in message.links if link.endswith("/in"))
    assert isinstance(link, str)
    assert (link.text, link.origin) == ("sign in", "html")


def test_what_is_not_there_is_empty() -> None:
    message = message_of(b"Subject: x\r\n\r\n")
    assert (message.text.strip(), message.html, message.links, message.codes, message.attachments) == (
        "",
        "",
        [],
        [],
        [],
    )


def test_the_text_is_made_of_html_where_that_is_all() -> None:
    message = message_of(b"Content-Type: text/html\r\n\r\n<p>one</p><p>two</p>")
    assert message.text.split() == ["one", "two"]


def test_a_message_without_a_header_is_true() -> None:
    assert message_of(b"")


def test_the_same_message_is_equal_and_another_is_not(message: Message) -> None:
    assert message == message_of(message.raw)
    assert hash(message) == hash(message_of(message.raw))
    assert message != message_of(message.raw, id=8)
    assert message != "a message"


def test_a_failing_test_shows_which_it_is(message: Message) -> None:
    assert repr(message) == (f"<Message 7 from <ann@a.example> to bob@b.example: 'Grüße', {len(message.raw)} octets>")


def test_it_survives_pickle_and_copy_with_its_session(message: Message) -> None:
    record = SessionRecord("s1", "127.0.0.1:9", "127.0.0.1:8025", 0.0, ended_at=1.0)
    one = message_of(message.raw, session_id="s1", find_session=lambda _: record)
    for other in (pickle.loads(pickle.dumps(one)), copy.copy(one), copy.deepcopy(one)):
        assert other == one
        assert other.links == message.links
        assert other.links[0].text == message.links[0].text
        assert other.session == record


def test_the_session_is_asked_for_until_it_has_ended() -> None:
    asked: list[str] = []

    def find(session_id: str) -> SessionRecord | None:
        asked.append(session_id)
        ended_at = None if len(asked) < 3 else 9.0
        return SessionRecord(session_id, "", "", 0.0, ended_at=ended_at) if len(asked) > 1 else None

    message = message_of(b"", session_id="s1", find_session=find)
    seen = [message.session for _ in range(4)]
    assert seen[0] is None
    assert [session.ended_at for session in seen[1:] if session] == [None, 9.0, 9.0]
    assert asked == ["s1"] * 3


def test_a_field_that_cannot_be_parsed_is_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object) -> str:
        raise IndexError("as email._header_value_parser has often done")

    message = message_of(b"To: <@\r\n \xff>\r\n\r\n")
    monkeypatch.setattr("email.policy.EmailPolicy.header_fetch_parse", stumble)
    assert message["To"] == "<@ \ufffd>"


def test_one_that_is_nested_too_deep_has_its_header() -> None:
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(3000))
    message = message_of(b"Subject: deep\r\n" + nested)
    assert message["Subject"] == "deep"
    assert pickle.loads(pickle.dumps(message)) == message
    assert message.text is not None


PIECES = [
    *(b"To: ", b"From: <", b"Subject: =?utf-8?b?", b"Date: ", b"Message-ID: <", b"a@b.example>", b"?=", b":", b";"),
    *(b"Content-Type: multipart/mixed; boundary=", b"Content-Type: text/html; charset=", b"\r\n", b"\n", b"--", b" "),
    *(b"Content-Transfer-Encoding: base64", b"Content-Disposition: attachment; ", b"filename*=utf-8''%ff", b"\xff"),
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=40).map(b"".join))
def test_whatever_somebody_sent_can_be_looked_at(raw: bytes) -> None:
    message = message_of(raw)
    assert repr(message).startswith("<Message 7 ")
    assert all(isinstance(str(value), str) for value in message.values())
    assert isinstance(message.text + message.html, str)
    assert message.links is not None
    assert message.codes is not None
    assert message.attachments is not None
    assert message.raw == raw
    assert pickle.loads(pickle.dumps(message)) == message


# What is wrong


ZONE = """
a.example         TXT  "v=spf1 ip4:192.0.2.1 -all"
_dmarc.a.example  TXT  "v=DMARC1; p=reject"
"""


def test_a_report_says_what_is_wrong() -> None:
    rules = {finding.rule for finding in message_of(b"Subject: x\r\n\r\nbare\n", session_id="s1").report.findings}
    assert {"bare-lf", "no-from"} <= rules


@pytest.mark.parametrize(("address", "rules"), [("192.0.2.1", set()), ("192.0.2.2", {"spf-fail", "dmarc-fail"})])
def test_who_vouches_for_a_message_is_asked_of_a_zone(address: str, rules: set[str]) -> None:
    message = message_of(b"From: ann@a.example\r\n\r\n", session_id="s1")
    found = message.authenticate(zone=ZONE, address=address)
    assert {finding.rule for finding in found.findings} == rules | {"dkim-none"}


def test_without_an_address_there_is_no_spf() -> None:
    assert message_of(b"From: ann@a.example\r\n\r\n").authenticate(zone=ZONE).maybe_spf is None


@pytest.mark.parametrize("options", [{"zone": "a.example"}, {"zone": "", "address": "nowhere"}])
def test_a_zone_or_an_address_that_is_none(options: Any) -> None:
    with pytest.raises(ValueError, match=r"line 1|nowhere"):
        message_of(b"From: ann@a.example\r\n\r\n").authenticate(**options)
