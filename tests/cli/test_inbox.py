from __future__ import annotations

import base64
import http.server
import io
import json
import smtplib
import threading
from contextlib import contextmanager
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import pytest

from ehlo.cli import inbox as command
from ehlo.cli.inbox_api import Api, ApiError
from ehlo.inbox import Inbox
from tests.cli.process import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Said = tuple[int, str, str]
    Run = Callable[..., Said]


@pytest.fixture(scope="module")
def server() -> Iterator[Inbox]:
    with Inbox(web=True) as server:
        yield server


@pytest.fixture
def inbox(server: Inbox) -> Iterator[Inbox]:
    server.clear()
    yield server
    server.clear()


@pytest.fixture
def run(server: Inbox, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command: its exit status, and what it said."""

    def run_it(*arguments: str, url: str | None = server.web_url) -> Said:
        status: Any = 0
        try:
            status = command.main([*arguments, f"--url={url}"])
        except SystemExit as error:
            status = error.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run_it


def send(inbox: Inbox, subject: str = "Hello", to: str = "ann@example.com", text: str = "It works.\n") -> int:
    """Send a message, and give its id."""
    message = EmailMessage()
    message["From"] = "App <app@a.example>"
    message["To"] = to
    message["Subject"] = subject
    message.set_content(text)
    message.add_alternative("<p>It works.</p>", subtype="html")
    message.add_attachment(b"\x00\xff\r\n", "application", "pdf", filename="invoice.pdf")
    with smtplib.SMTP(inbox.host, inbox.port) as client:
        client.sendmail("app@a.example", [to], message.as_bytes())
    return inbox.messages[-1].id


# ls


def test_the_list_has_a_line_for_each_message_the_newest_last(run: Run, inbox: Inbox) -> None:
    ids = [send(inbox, subject) for subject in ("one", "two")]
    status, output, errors = run("ls")
    assert (status, errors) == (0, "")
    lines = output.splitlines()
    assert [int(line.split("*")[0]) for line in lines] == ids
    assert lines[1].endswith("app@a.example > ann@example.com  two")


def test_the_list_may_be_searched_and_is_cut(run: Run, inbox: Inbox) -> None:
    for number in range(5):
        send(inbox, f"number {number}", to=f"{number}@example.com")
    assert run("ls", "to:3@example.com")[1].count("\n") == 1
    _, output, _ = run("ls", "--limit=2")
    assert output.splitlines()[-1] == "(3 older ones are not shown)"
    assert "number 3" in output
    assert "number 2" not in output


def test_the_list_of_an_inbox_has_its_messages_only(run: Run, inbox: Inbox) -> None:
    with inbox.new("other") as other:
        send(inbox, "mine")
        send(other, "theirs")
        assert [line[-6:] for line in run("ls", f"--inbox={other.name}")[1].splitlines()] == ["theirs"]
    assert run("ls", "--inbox=nobody")[:2] == (0, "")


def test_json_is_what_the_api_says(run: Run, inbox: Inbox) -> None:
    number = send(inbox, "Grüße")
    _, output, _ = run("ls", "--json")
    assert output.isascii()
    [summary] = json.loads(output)
    assert (summary["id"], summary["subject"]) == (number, "Grüße")
    assert json.loads(run("show", str(number), "--json")[1])["id"] == number


# show


def test_a_message_is_shown_with_what_is_in_it(run: Run, inbox: Inbox) -> None:
    send(inbox, "Your code", text="It is 482913.\nhttps://app.example/in\n")
    status, output, errors = run("show", "last")
    assert (status, errors) == (0, "")
    for words in ("Your code", "app@a.example", "ann@example.com", "482913", "https://app.example/in", "It is 482913."):
        assert words in output
    assert "invoice.pdf (application/pdf, 4 B): --part 4" in output


def test_all_of_a_long_text_is_shown(run: Run, inbox: Inbox) -> None:
    send(inbox, text="".join(f"line {number}\n" for number in range(100)))
    assert "line 99" in run("show", "last")[1]


def test_raw_parts_html_and_header_are_printed_as_they_are(
    inbox: Inbox, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    number = str(send(inbox))
    url = f"--url={inbox.web_url}"
    command.main(["show", number, "--raw", url])
    assert capsysbinary.readouterr().out == inbox.messages[-1].raw
    command.main(["show", number, "--part=4", url])
    assert capsysbinary.readouterr().out == b"\x00\xff\r\n"
    command.main(["show", number, "--html", url])
    assert capsysbinary.readouterr().out
    command.main(["show", number, "--headers", url])
    assert b"Subject: Hello\n" in capsysbinary.readouterr().out


# check


def test_check_says_what_is_wrong_with_a_message(run: Run, inbox: Inbox) -> None:
    number = send(inbox)
    for which in (str(number), "last"):
        status, output, _ = run("check", which)
        assert status == 3
        assert "error no-date (header): there is no Date field" in output
        assert "[RFC 5322 §3.6]\n" in output
    status, output, _ = run("check", "last", "--json")
    assert (status, json.loads(output)["is_clean"]) == (3, False)


def test_a_message_that_is_not_there_cannot_be_checked(run: Run, inbox: Inbox) -> None:
    assert run("check", "last")[0] == 1
    assert run("check", str(send(inbox) + 1))[0] == 1


def test_a_session_is_written_with_its_messages(inbox: Inbox, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    send(inbox)
    message = inbox.messages[-1]
    command.main(["session", message.session_id, f"--url={inbox.web_url}"])
    recording = json.loads(capsysbinary.readouterr().out)
    assert recording["session"]["id"] == message.session_id
    assert [base64.b64decode(one["raw"]) for one in recording["messages"]] == [message.raw]


def test_a_session_that_is_not_there(run: Run, inbox: Inbox) -> None:
    status, output, errors = run("session", "s0/../x")
    assert (status, output) == (1, "")
    assert errors.startswith("ehlo: ")


def test_a_message_that_is_not_there(run: Run, inbox: Inbox) -> None:
    status, output, errors = run("show", "999999")
    assert (status, output) == (1, "")
    assert errors.startswith("ehlo: ")
    assert run("show", "last") == (1, "", "ehlo: there is no message\n")
    assert run("show", "999") == (1, "", "ehlo: there is no message 999\n")


def test_nothing_of_a_message_reaches_the_terminal_raw(run: Run, inbox: Inbox) -> None:
    send(inbox, "\u202e\x9b31m", text="\x1b]0;x\x07\n")
    for arguments in (["ls"], ["show", "last"], ["show", "last", "--headers"]):
        output = run(*arguments)[1]
        assert "".join(output.splitlines()).isprintable(), arguments


# wait


def test_a_wait_shows_what_comes(run: Run, inbox: Inbox) -> None:
    threading.Timer(0.2, send, (inbox, "Late")).start()
    status, output, _ = run("wait", "--subject=late", "--to=/^ann@/", "--timeout=10")
    assert status == 0
    assert "Late" in output


def test_a_wait_takes_what_is_there_if_it_is_told_after_what(run: Run, inbox: Inbox) -> None:
    number = send(inbox)
    _, output, _ = run("wait", "--after=0", "--from=app@", "--json")
    answer = json.loads(output)
    assert (answer["message"]["id"], answer["cursor"]) == (number, number)


def test_a_wait_that_is_over_says_what_came_instead(run: Run, inbox: Inbox) -> None:
    send(inbox, "Other")
    status, output, errors = run("wait", "--after=0", "--subject=mine", "--timeout=0")
    assert (status, output) == (1, "")
    assert errors.splitlines()[0] == "ehlo: no such message came within 0 s"
    assert errors.splitlines()[1].endswith("Other")


# rm


def test_messages_are_deleted_by_number_by_search_or_all(run: Run, inbox: Inbox) -> None:
    ids = [send(inbox, subject) for subject in ("one", "two", "two", "three")]
    assert run("rm", str(ids[0])) == (0, "Deleted 1 message.\n", "")
    assert run("rm", str(ids[0])) == (1, "Deleted 0 messages.\n", "")
    assert run("rm", "--query=subject:two") == (0, "Deleted 2 messages.\n", "")
    assert json.loads(run("rm", "--all", "--json")[1]) == {"deleted": 1}
    assert inbox.messages == []


# What goes wrong


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "COMMAND"),
        (["rm"], "say which"),
        (["rm", "1", "--all"], "say which"),
        (["show"], "id"),
        (["show", "x"], "invalid message number value"),
        (["ls", "--limit=0"], "Invalid limit: 0"),
        (["wait", "--timeout=301"], "Invalid timeout: 301"),
        (["wait", "--timeout=nan"], "Invalid timeout"),
    ],
)
def test_wrong_options_are_named(run: Run, arguments: list[str], complaint: str) -> None:
    status, output, errors = run(*arguments)
    assert (status, output) == (2, "")
    assert complaint in errors


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8026", "file:///etc/passwd", ""])
def test_an_address_that_is_none_is_refused(run: Run, url: str) -> None:
    if url:
        assert run("ls", url=url)[0] == 2
    with pytest.raises(ValueError, match="no address of an inbox"):
        Api(url, None)


def test_a_query_that_cannot_be_understood(run: Run, inbox: Inbox) -> None:
    status, _, errors = run("ls", "before:yesteryear")
    assert status == 1
    assert "before" in errors


def test_no_inbox_there(run: Run) -> None:
    status, _, errors = run("ls", url="http://127.0.0.1:1")
    assert status == 1
    assert errors.startswith("ehlo: no inbox at http://127.0.0.1:1: nobody listens there")


def test_an_inbox_with_a_token(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with Inbox(web=True, token="opensesame") as inbox:
        send(inbox)
        assert command.main(["ls", f"--url={inbox.web_url}"]) == 1
        assert "EHLO_INBOX_TOKEN" in capsys.readouterr().err
        assert command.main(["ls", f"--url={inbox.web_url}", "--token=opensesame"]) == 0
        assert command.main(["ls", f"--url={inbox.web_url}?token=opensesame"]) == 0
        monkeypatch.setenv("EHLO_INBOX_URL", str(inbox.web_url))
        monkeypatch.setenv("EHLO_INBOX_TOKEN", "opensesame")
        assert command.main(["ls"]) == 0
        assert capsys.readouterr().out.count("Hello") == 3


@contextmanager
def answering(status: int, body: bytes, **header: str) -> Iterator[tuple[str, list[str]]]:
    """A web server that is no inbox: its address, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            for name, value in header.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}", asked
        finally:
            web.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "complaint"),
    [
        (200, b"<html>", "is no inbox of ehlo"),
        (404, b"not here", "answers 404"),
        (500, b'{"error": "odd"}', "answers 500"),
        (400, b'{"error": {"message": "no \\u001b[31m"}}', "no \x1b[31m"),
    ],
)
def test_what_is_no_inbox_is_told(status: int, body: bytes, complaint: str) -> None:
    with answering(status, body) as (url, _), pytest.raises(ApiError) as caught:
        Api(url, None).ask("GET", "messages")
    assert complaint in str(caught.value)


def test_no_token_is_carried_elsewhere() -> None:
    with answering(200, b"{}") as (elsewhere, asked), answering(302, b"", Location=elsewhere) as (url, _):
        with pytest.raises(ApiError, match="answers 302"):
            Api(url, "secret").ask("GET", "messages")
        assert asked == []


def test_a_complaint_is_made_visible(run: Run) -> None:
    with answering(400, b'{"error": {"message": "no \\u001b[31m"}}') as (url, _):
        assert run("ls", url=url) == (1, "", "ehlo: no \\x1b[31m\n")


def test_a_path_before_the_api_is_kept() -> None:
    with answering(200, b"{}") as (url, asked):
        Api(f"{url}/mail/", None).ask("GET", "messages", {"q": "a b", "inbox": None})
    assert asked == ["/mail/api/v1/messages?q=a+b"]


def test_output_that_nobody_reads_is_no_traceback(server: Inbox) -> None:
    with running("-m", "ehlo", "inbox", "ls", f"--url={server.web_url}", "--json", reads_output=False) as process:
        assert process.wait() == 1
    assert process.err.text == ""


def test_standard_output_may_be_of_another_kind(monkeypatch: pytest.MonkeyPatch, server: Inbox) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    send(server, "Grüße")
    assert command.main(["ls", f"--url={server.web_url}"]) == 0
