from __future__ import annotations

import asyncio
import re
import smtplib
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from ehlo.inbox.inbox import Inbox
from ehlo.inbox.message import Message
from ehlo.report.examples import mail as right_mail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOMENT = 0.05


def send(inbox: Inbox, to: str = "ann@example.com", subject: str = "Hello", text: str = "") -> None:
    with smtplib.SMTP(inbox.host, inbox.port) as client:
        client.sendmail("app@a.example", [to], f"Subject: {subject}\r\n\r\n{text}\r\n".encode())


@pytest.fixture(scope="module")
def server() -> Iterator[Inbox]:
    with Inbox() as server:
        yield server


@pytest.fixture
def inbox(server: Inbox) -> Iterator[Inbox]:
    with server.new("test") as inbox:
        yield inbox


# Waiting


def test_a_message_that_came_before_the_call_counts(inbox: Inbox) -> None:
    send(inbox, text="Your code is 482913.")
    message = inbox.wait(to="ann@example.com", subject="hello", timeout=0)
    assert isinstance(message, Message)
    assert message.codes == ["482913"]
    assert message.envelope.mail_from == "app@a.example"


def test_a_message_that_comes_later_ends_the_wait(inbox: Inbox) -> None:
    timer = threading.Timer(MOMENT, send, (inbox,))
    timer.start()
    assert inbox.wait()["Subject"] == "Hello"
    timer.join()


def test_each_message_is_given_once_in_whatever_order_they_are_asked_for(inbox: Inbox) -> None:
    for to in ("ann@example.com", "bob@example.com", "ann@example.com"):
        send(inbox, to)
    given = [inbox.wait(to="bob@"), inbox.wait(to="ann@"), inbox.wait(to="ann@")]
    assert [message.id for message in given] == [given[1].id + 1, given[1].id, given[1].id + 2]
    assert inbox.wait(to="bob@", again=True) == given[0]
    with pytest.raises(AssertionError, match="an earlier wait had it"):
        inbox.wait(to="bob@", timeout=0)


def test_the_envelope_and_the_header_are_searched_and_a_pattern_is_one(inbox: Inbox) -> None:
    send(inbox, to="bcc@example.com", subject="Order 66\r\nFrom: Shop <shop@b.example>\r\nTo: Ann")
    for criteria in ({"to": "bcc@"}, {"to": "Ann"}, {"from_": "app@"}, {"from_": "SHOP"}):
        assert inbox.wait(again=True, timeout=0, **criteria)
    assert inbox.wait(subject=re.compile(r"Order \d+"), again=True, timeout=0)


def test_the_language_of_the_search_may_be_used_and_finds_the_text(inbox: Inbox) -> None:
    send(inbox, subject="one", text="needle")
    send(inbox, subject="two", text="hay")
    assert inbox.wait(q="needle")["Subject"] == "one"
    assert inbox.wait(q="subject:two hay")["Subject"] == "two"


def test_a_search_that_is_over_before_it_has_begun_leaves_no_word_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Inbox() as own:
        send(own)
        own.wait(q="subject:hello")
    assert caplog.text == ""


def test_a_wait_that_fails_says_what_did_arrive(inbox: Inbox) -> None:
    send(inbox, subject="Welcome")
    with pytest.raises(AssertionError) as caught:
        inbox.wait(to="bob@example.com", subject=re.compile("code"), timeout=MOMENT)
    lines = str(caught.value).splitlines()
    assert lines[0] == "no message to 'bob@example.com' with subject /code/ arrived within 0.05 s"
    assert lines[1] == f"What did arrive at {inbox.smtp_url}:"
    assert lines[2].endswith("from <app@a.example> to ann@example.com: 'Welcome'")
    assert [line.strip() for line in lines[3:]] == ["to is not 'bob@example.com'", "subject is not /code/"]


def test_a_wait_that_fails_says_that_nobody_came(inbox: Inbox) -> None:
    with pytest.raises(AssertionError, match="nobody connected"):
        inbox.wait(timeout=0)


def test_a_wait_that_fails_says_who_was_refused(inbox: Inbox) -> None:
    with (
        smtplib.SMTP(inbox.host, inbox.port, local_hostname="app.example") as client,
        pytest.raises(smtplib.SMTPRecipientsRefused),
    ):
        client.sendmail("app@a.example", ["no address"], "Subject: x\r\n\r\n")
    while not inbox.sessions:  # it is written down when it has ended
        pass
    with pytest.raises(AssertionError, match=r"app\.example: RCPT was refused: 553 5\.1\.3"):
        inbox.wait(timeout=0)


async def test_a_coroutine_waits_while_its_loop_goes_on(inbox: Inbox) -> None:
    sending = asyncio.create_task(asyncio.to_thread(send, inbox))
    assert (await inbox.wait_async(to="ann@"))["Subject"] == "Hello"
    await sending
    with pytest.raises(AssertionError, match="no message arrived within 0 s"):
        await inbox.wait_async(timeout=0)


async def test_a_wait_that_has_stopped_a_loop_says_so(inbox: Inbox) -> None:
    with pytest.raises(AssertionError, match=r"use `await inbox\.wait_async`"):
        inbox.wait(timeout=0)


def test_who_waits_is_let_go_when_it_stops(server: Inbox) -> None:
    own = server.new()
    own.start()
    threading.Timer(MOMENT, own.stop).start()
    with pytest.raises(RuntimeError):
        own.wait()


# None


def test_no_message_is_no_failure(inbox: Inbox) -> None:
    inbox.assert_none(within=MOMENT)
    send(inbox)
    inbox.assert_none(to="bob@", within=0)
    inbox.wait()
    inbox.assert_none(within=0)


def test_a_message_that_nobody_waited_for_is_one(inbox: Inbox) -> None:
    send(inbox, subject="Unwanted")
    with pytest.raises(AssertionError, match=r"(?s)there is a message to 'ann@':.*'Unwanted'"):
        inbox.assert_none(to="ann@")
    assert inbox.wait()["Subject"] == "Unwanted"  # it was not taken


async def test_so_it_is_for_a_coroutine(inbox: Inbox) -> None:
    await inbox.assert_none_async(within=0)
    sending = asyncio.create_task(asyncio.to_thread(send, inbox))
    with pytest.raises(AssertionError, match="there is a message"):
        await inbox.assert_none_async(within=5)
    await sending


# What is there


async def test_a_variable_that_is_empty_or_a_list_is_no_criterion(inbox: Inbox) -> None:
    for call in (inbox.wait, inbox.assert_none):
        with pytest.raises(ValueError, match="to: empty"):
            call(to="")
    for coroutine in (inbox.wait_async, inbox.assert_none_async):
        with pytest.raises(TypeError, match="subject: a str"):
            await coroutine(subject=["x"])  # type: ignore[arg-type]


def test_messages_are_there_in_their_order_until_they_are_cleared(inbox: Inbox) -> None:
    for subject in ("one", "two"):
        send(inbox, subject=subject)
    assert [message["Subject"] for message in inbox.messages] == ["one", "two"]
    assert inbox.wait() == inbox.messages[0]
    inbox.clear()
    assert inbox.messages == []
    send(inbox, subject="three")
    assert inbox.wait()["Subject"] == "three"


def test_inboxes_of_one_server_do_not_see_each_other(server: Inbox) -> None:
    with server.new("one") as one, server.new("two") as two:
        assert one.port != two.port
        send(one)
        send(two, subject="Other")
        send(server, subject="Common")
        assert [message["Subject"] for message in one.messages] == ["Hello"]
        assert [message["Subject"] for message in two.messages] == ["Other"]
        assert server.wait()["Subject"] == "Common"
        server.assert_none(within=0)


def test_any_login_will_do_and_does_not_change_the_inbox(inbox: Inbox) -> None:
    with smtplib.SMTP(inbox.host, inbox.port) as client:
        client.login("somebody", "secret")
        client.sendmail("a@b.example", ["c+tag@d.example"], "Subject: x\r\n\r\n")
    session = inbox.wait().session
    assert session is not None
    assert session.login == "somebody"


def test_the_session_that_brought_it_tells_what_was_said(inbox: Inbox) -> None:
    send(inbox)
    session = inbox.wait().session
    assert session is not None
    assert [line.text.partition(" ")[0].upper() for line in session.transcript if line.by == "C"][:4] == [
        *("EHLO", "MAIL", "RCPT", "DATA"),
    ]


def test_many_senders_at_once_lose_nothing(inbox: Inbox) -> None:
    threads = [threading.Thread(target=send, args=(inbox, f"{number}@example.com")) for number in range(20)]
    for thread in threads:
        thread.start()
    for number in range(20):
        assert inbox.wait(to=f"{number}@example.com", timeout=10, again=True)
    for thread in threads:
        thread.join()
    assert len(inbox.messages) == 20


def test_starttls_with_a_certificate_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("XDG_STATE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    with Inbox(tls=True) as inbox, smtplib.SMTP("localhost", inbox.port) as client:
        client.starttls(context=ssl.create_default_context(cafile=inbox.authority_file))
        client.sendmail("a@b.example", ["c@d.example"], "Subject: x\r\n\r\n")
        session = inbox.wait().session
    assert session is not None
    assert session.tls is not None
    assert session.tls.startswith("TLS")


# Life


def test_its_mail_goes_with_it_unless_it_is_kept(server: Inbox) -> None:
    def left(*, keeps_mail: bool) -> int:
        with server.new("kept" if keeps_mail else "gone", keeps_mail=keeps_mail) as own:
            send(own)
            own.wait()
        return len(server._running.store.find(inbox=own.name))

    assert [left(keeps_mail=False), left(keeps_mail=True)] == [0, 1]


def test_it_may_be_started_again_with_what_it_kept(tmp_path: Path) -> None:
    with Inbox(store=tmp_path / "mail.db") as inbox:
        send(inbox, subject="kept")
    inbox = Inbox(store=tmp_path / "mail.db", port=inbox.port)
    for _ in range(2):
        with inbox:
            assert inbox.wait(again=True, timeout=0)["Subject"] == "kept"


def test_a_port_that_is_taken_is_an_oserror_and_leaves_nothing_behind() -> None:
    before = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        Inbox(port=taken.getsockname()[1]).start()
    assert threading.active_count() <= before


def test_what_does_not_run_says_so() -> None:
    inbox = Inbox()
    assert repr(inbox) == "<Inbox default at smtp://127.0.0.1:0: not running>"
    inbox.stop()  # nothing happens
    with pytest.raises(RuntimeError, match="not running"):
        inbox.wait()
    with inbox, pytest.raises(RuntimeError, match="is running"):
        inbox.start()
    with pytest.raises(RuntimeError, match="not running"):
        _ = inbox.messages


def test_it_tells_where_it_is(inbox: Inbox) -> None:
    assert inbox.smtp_url == f"smtp://127.0.0.1:{inbox.port}"
    assert inbox.web_url is None
    assert repr(inbox) == f"<Inbox {inbox.name} at {inbox.smtp_url}: 0 messages>"
    with Inbox(host="::1") as other:
        assert other.smtp_url == f"smtp://[::1]:{other.port}"


@pytest.mark.parametrize("name", [None, "", "Test[ä-/..]", "x" * 200])
def test_the_name_of_an_inbox_is_one_that_the_page_can_use(server: Inbox, name: str | None) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9@+._-]{0,63}", server.new(name).name)
    assert server.new(name).name != server.new(name).name


# What is wrong


def test_a_message_that_is_clean_says_nothing(inbox: Inbox) -> None:
    with smtplib.SMTP(inbox.host, inbox.port, "client.sender.example") as client:
        client.sendmail("anna@sender.example", ["bob@receiver.example"], right_mail().raw)
    message = inbox.wait()
    inbox.assert_clean(message)
    assert message.report.is_clean


def test_a_message_that_is_not_clean_says_what_is_wrong_with_it_and_with_the_client(inbox: Inbox) -> None:
    with smtplib.SMTP(inbox.host, inbox.port) as client:
        client.helo("client.sender.example")
        client.sendmail("anna@sender.example", ["bob@receiver.example"], right_mail(message_id=None).raw)
    message = inbox.wait()
    with pytest.raises(
        AssertionError, match=r"is not clean:\nwarning no-message-id.*\nwarning helo \(command 1, HELO\)"
    ):
        inbox.assert_clean(message)
    inbox.assert_clean(message, ignore=["no-message-id", "helo"])


def test_a_rule_that_is_misspelt_is_an_error(inbox: Inbox) -> None:
    send(inbox)
    with pytest.raises(ValueError, match="no such rule: no-message"):
        inbox.assert_clean(inbox.wait(), ignore=["no-message"])
