"""The records: what they are before anything was said, and the stage that is derived from them."""

from __future__ import annotations

import copy
import pickle

import pytest

from ehlo import Disconnect, Envelope, Recipient, Session
from ehlo.errors import EhloError, Goodbye
from ehlo.protocol.commands import Stage
from ehlo.protocol.parameters import NO_MAIL_PARAMETERS, NO_RECIPIENT_PARAMETERS, Notify, RecipientParameters
from ehlo.session import new_id, stage_of


def test_a_session_begins_with_nothing_said() -> None:
    session = Session(("192.0.2.1", 25))
    assert session.peer == ("192.0.2.1", 25)
    assert (session.host_name, session.extended_smtp) == (None, False)
    assert (session.authenticated, session.login, session.auth_data) == (False, None, None)
    assert (session.ssl, session.proxy_data) == (None, None)
    assert Session().peer is None


def test_an_envelope_begins_empty_and_with_lists_of_its_own() -> None:
    one, two = Envelope(), Envelope()
    assert one.mail_from is None
    assert one.content is one.original_content is None
    assert (one.mail_options, one.rcpt_tos, one.rcpt_options, one.recipients) == ([], [], [], [])
    assert not one.smtp_utf8
    assert one.mail_parameters is NO_MAIL_PARAMETERS
    one.rcpt_tos.append("a@example.com")
    one.mail_options.append("SIZE=1")
    one.rcpt_options.append("NOTIFY=NEVER")
    assert (two.mail_options, two.rcpt_tos, two.rcpt_options) == ([], [], [])


def test_ids_are_different_stay_and_sort_by_age() -> None:
    things: list[Session | Envelope] = [Session(), Envelope(), Session(), Envelope()]
    ids = [thing.id for thing in things]
    assert len(set(ids)) == 4
    assert ids == [thing.id for thing in things]
    assert all(one.replace("-", "").isalnum() for one in ids)
    many = [new_id() for _ in range(3000)]
    assert many == sorted(many, key=lambda one: (len(one), one))


def test_forget_forgets_what_the_client_said_and_not_who_it_is() -> None:
    session = Session("peer")
    before = session.id
    said = {"host_name": "x", "login": "x", "extended_smtp": True, "authenticated": True, "auth_data": object()}
    for name, value in said.items():
        setattr(session, name, value)
    session.forget()
    assert (session.host_name, session.extended_smtp) == (None, False)
    assert (session.authenticated, session.login, session.auth_data) == (False, None, None)
    assert (session.peer, session.id) == ("peer", before)


def test_handlers_may_add_attributes_to_both() -> None:
    session, envelope = Session(), Envelope()
    session.score = 5  # type: ignore[attr-defined]
    envelope.score = 6  # type: ignore[attr-defined]
    assert vars(session)["score"] == 5
    assert vars(envelope)["score"] == 6


@pytest.mark.parametrize(
    ("host_name", "mail_from", "rcpt_tos", "is_chunked", "stage"),
    [
        (None, None, [], False, Stage.CONNECTED),
        ("x", None, [], False, Stage.GREETED),
        ("x", "a@example.com", [], False, Stage.MAIL),
        ("x", "", [], False, Stage.MAIL),
        ("x", "", ["b@example.com"], False, Stage.RCPT),
        ("x", "", ["b@example.com"], True, Stage.CHUNKS),
        # What a hook may make of it.
        (None, "", [], False, Stage.MAIL),
        ("", None, [], False, Stage.GREETED),
        ("x", None, ["b@example.com"], False, Stage.GREETED),
    ],
)
def test_the_stage_is_what_the_records_say(
    host_name: str | None, mail_from: str | None, rcpt_tos: list[str], is_chunked: bool, stage: Stage
) -> None:
    session, envelope = Session(), Envelope()
    session.host_name = host_name
    envelope.mail_from, envelope.rcpt_tos, envelope.is_chunked = mail_from, rcpt_tos, is_chunked
    assert stage_of(session, envelope) is stage


def test_a_recipient_is_a_string_that_knows_its_parameters() -> None:
    parameters = RecipientParameters(notify=Notify.NEVER)
    recipient = Recipient("b@example.com", ("NOTIFY=NEVER",), parameters)
    assert recipient == "b@example.com"
    assert f"<{recipient}>" == "<b@example.com>"
    assert hash(recipient) == hash("b@example.com")
    assert (recipient.options, recipient.parameters) == (("NOTIFY=NEVER",), parameters)
    assert sorted([Recipient("b"), Recipient("a")]) == ["a", "b"]


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_a_recipient_knows_its_parameters_too(make: object) -> None:
    assert callable(make)
    recipient = Recipient("b@example.com", ("NOTIFY=NEVER",), RecipientParameters(notify=Notify.NEVER))
    same = make(recipient)
    assert isinstance(same, Recipient)
    assert (same, same.options, same.parameters) == (recipient, recipient.options, recipient.parameters)


def test_recipients_that_a_hook_added_have_no_parameters() -> None:
    envelope = Envelope()
    known = Recipient("a@example.com", ("X=1",))
    envelope.rcpt_tos += [known, "b@example.com"]
    first, second = envelope.recipients
    assert first is known
    assert (second, second.options, second.parameters) == ("b@example.com", (), NO_RECIPIENT_PARAMETERS)


def test_original_content_is_the_content() -> None:
    envelope = Envelope()
    envelope.content = b"Hello"
    assert envelope.original_content == b"Hello"


def _kinds(error: type[EhloError]) -> set[type[EhloError]]:
    return {error}.union(*(_kinds(kind) for kind in error.__subclasses__()))


def test_every_goodbye_has_a_reason_that_hooks_know() -> None:
    for kind in _kinds(Goodbye):
        assert issubclass(kind, Goodbye)
        assert Disconnect(kind.why).value == kind.why
