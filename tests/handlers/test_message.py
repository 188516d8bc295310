from __future__ import annotations

import email.message
import email.policy
import importlib
import io
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import serve
from ehlo.handlers import AsyncMessage, Message, MessageBase, message, parser_process
from ehlo.handlers.message import ClassNotImportable, ParserFailed, can_use_process, parse_in_process
from ehlo.session import Envelope, Session
from tests.handlers.support import CONTENT, send

if TYPE_CHECKING:
    from ehlo.protocol.replies import Reply

LARGE = b"Subject: large\r\n\r\n" + b"0123456789012345678901234567890123456789012345678901234567890123456\r\n" * 20_000


class OwnMessage(email.message.Message):
    """A class that another process can import."""


class Keeper(Message):
    def __init__(self, message_class: type[email.message.Message] | None = None, status: str | None = None) -> None:
        super().__init__(message_class)
        self.status = status
        self.messages: list[email.message.Message] = []
        self.threads: list[threading.Thread] = []

    def handle_message(self, message: email.message.Message) -> str | None:
        self.messages.append(message)
        self.threads.append(threading.current_thread())
        return self.status


class AsyncKeeper(AsyncMessage):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[email.message.Message] = []
        self.threads: list[threading.Thread] = []

    def prepare_message(self, session: Session, envelope: Envelope) -> email.message.Message:
        self.threads.append(threading.current_thread())
        return super().prepare_message(session, envelope)

    async def handle_message(self, message: email.message.Message) -> str | None:
        self.messages.append(message)
        self.threads.append(threading.current_thread())
        return "250 2.0.0 Taken"


def envelope_of(content: bytes | None) -> Envelope:
    envelope = Envelope()
    envelope.mail_from = "from@example.com"
    envelope.rcpt_tos = ["one@example.com", "two@example.com"]
    envelope.content = content
    return envelope


def prepared(content: bytes | None, handler: MessageBase | None = None) -> email.message.Message:
    return (handler or MessageBase()).prepare_message(Session(("192.0.2.1", 4711)), envelope_of(content))


def test_a_message_is_the_content_and_the_envelope() -> None:
    made = prepared(CONTENT)
    assert made.items() == [
        ("Subject", "a message"),
        ("X-Peer", "('192.0.2.1', 4711)"),
        ("X-MailFrom", "from@example.com"),
        ("X-RcptTo", "one@example.com, two@example.com"),
    ]
    assert made.get_payload() == "Hello\r\n.hidden dot\r\nBye\r\n"


def test_the_client_cannot_forge_the_envelope() -> None:
    made = prepared(b"x-peer: me\r\nX-MailFrom: nobody\r\nX-RcptTo: all\r\nX-RcptTo: more\r\n\r\n")
    assert made.get_all("X-Peer") == ["('192.0.2.1', 4711)"]
    assert made.get_all("X-MailFrom") == ["from@example.com"]
    assert made.get_all("X-RcptTo") == ["one@example.com, two@example.com"]


def test_an_envelope_that_a_hook_filled_cannot_split_the_header() -> None:
    envelope = envelope_of(CONTENT)
    envelope.mail_from = "a\r\nBcc: b"
    assert MessageBase().prepare_message(Session(), envelope)["X-MailFrom"] == "a??Bcc: b"


def test_content_that_is_not_there_is_a_mistake() -> None:
    with pytest.raises(TypeError, match=r"Expected bytes, got <class 'NoneType'>"):
        prepared(None)


@pytest.mark.parametrize("content", [CONTENT, LARGE], ids=["small", "large"])
def test_a_class_is_made_with_its_own_policy(content: bytes) -> None:
    made = prepared(content, MessageBase(email.message.EmailMessage))
    assert isinstance(made, email.message.EmailMessage)
    assert type(made.policy) is email.policy.EmailPolicy
    assert made.get_content().splitlines() == content.decode().splitlines()[2:]


def test_a_large_message_is_the_same_as_if_it_were_small() -> None:
    content = LARGE + "ü\r\n".encode() + b"\xff\r\n"
    there = prepared(content)
    here = MessageBase()
    here.uses_process = False
    assert there.as_bytes() == prepared(content, here).as_bytes()
    assert type(there) is email.message.Message


def test_text_that_is_not_ascii_is_written_as_its_octets_and_any_other_as_usual() -> None:
    made = email.message.Message()
    made.set_payload("\udcff\udcfe" * 1000)
    made["Subject"] = "ü"
    file = io.BytesIO()
    parser_process.Writer(file).dump(made)
    assert b"\xff\xfe\xff\xfe" in file.getvalue()
    file.seek(0)
    read = parser_process.Reader(file).load()
    assert read.get_payload() == made.get_payload()
    assert read["Subject"] == "ü"


def test_only_a_large_message_costs_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def spy(content: bytes, message_class: type[email.message.Message], timeout: float) -> email.message.Message:
        sizes.append(len(content))
        return message_class()

    monkeypatch.setattr(message, "parse_in_process", spy)
    handler = MessageBase()
    handler.process_threshold = 10
    for size in (9, 10, 11):
        handler.parse(b"x" * size)
    assert sizes == [11]


def test_a_class_of_a_module_is_made_in_the_other_process() -> None:
    handler = MessageBase(OwnMessage)
    assert type(prepared(LARGE, handler)) is OwnMessage
    assert handler.uses_process


def test_a_class_inside_a_function_is_made_here() -> None:
    class Local(email.message.Message):
        pass

    assert type(prepared(LARGE, MessageBase(Local))) is Local


def test_a_class_of_the_main_program_is_made_here() -> None:
    own = type("Own", (email.message.Message,), {"__module__": "__main__"})
    assert not can_use_process(own)


def test_a_class_that_is_not_found_there_is_made_here_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = type("Own", (email.message.Message,), {"__module__": "no_such_module"})
    with pytest.raises(ClassNotImportable):
        parse_in_process(LARGE, own, 60)
    handler = MessageBase(own)
    assert handler.uses_process
    assert type(prepared(LARGE, handler)) is own
    assert "not importable" in caplog.text
    assert not handler.uses_process


@pytest.mark.parametrize(
    ("name", "value"), [("executable", ""), ("executable", None), ("frozen", True)], ids=["none", "embedded", "frozen"]
)
def test_without_an_interpreter_to_start_it_is_done_here(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, name, value, raising=False)
    assert not can_use_process(email.message.Message)


def test_inside_a_zip_there_is_no_file_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(message, "_SCRIPT", tmp_path / "app.pyz" / "parser_process.py")
    assert not can_use_process(email.message.Message)


def test_a_parser_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ParserFailed, match=r"not parsed within 0\.001 s"):
        parse_in_process(LARGE, email.message.Message, 0.001)


def multipart(parts: int) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\n" * parts


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(multipart(11_000), "TooManyParts", id="parts"),
        pytest.param(b"a:\r\n" * 110_000, "TooManyParts", id="fields"),
        pytest.param(
            b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(2000)),
            "RecursionError",
            id="nested",
        ),
    ],
)
def test_a_hostile_message_fails_where_it_harms_nobody(content: bytes, reason: str) -> None:
    with pytest.raises(ParserFailed, match=f"exit 1, {reason}$"):
        parse_in_process(content, email.message.Message, 60)


def test_a_process_that_dies_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "dies.py"
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(message, "_SCRIPT", script)
    with pytest.raises(ParserFailed, match="exit -9, no reason given"):
        parse_in_process(CONTENT, email.message.Message, 60)


def script(content: bytes, *limits: int) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, parser_process.__file__, "email.message", "Message", *map(str, limits)],
        input=content,
        capture_output=True,
        check=False,
    )


def test_the_script_keeps_its_limits() -> None:
    assert script(CONTENT, 100_000, 1 << 32).returncode == 0
    done = script(CONTENT, 10, 1 << 32)
    assert (done.returncode, done.stderr, done.stdout) == (1, b"TooBig", b"")
    if sys.platform == "linux":
        done = script(LARGE, 1 << 32, 1 << 20)
        assert (done.returncode, done.stderr, done.stdout) == (1, b"MemoryError", b"")


def test_the_other_process_imports_what_can_be_imported_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "own_messages.py").write_text("import email.message\nclass Own(email.message.Message): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = importlib.import_module("own_messages").Own
    assert type(parse_in_process(CONTENT, own, 60)) is own


def test_the_main_program_does_not_run_again(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import json, sys\n"
        "print('run')\n"
        "from ehlo.handlers import MessageBase\n"
        "print(json.dumps(MessageBase().parse(b'Subject: x\\r\\n\\r\\n' + b'y' * 1_100_000).items()))\n"
    )
    source = str(Path(message.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["run", json.dumps([["Subject", "x"]])]


async def test_a_message_handler_runs_in_a_thread_and_may_answer() -> None:
    handler = Keeper(status="250 2.0.0 Kept")
    async with serve(handler, "127.0.0.1", 0) as server:
        reply = await send(server.port)
    assert str(reply) == "250 2.0.0 Kept"
    assert [made["Subject"] for made in handler.messages] == ["a message"]
    assert handler.threads != [threading.main_thread()]


async def test_a_message_handler_need_not_answer() -> None:
    async with serve(Keeper(), "127.0.0.1", 0) as server:
        reply = await send(server.port, LARGE)
    assert reply.text.startswith("OK queued as ")


async def test_an_async_message_handler_is_parsed_for_in_a_thread_and_called_in_the_loop() -> None:
    handler = AsyncKeeper()
    async with serve(handler, "127.0.0.1", 0) as server:
        reply: Reply = await send(server.port)
    assert str(reply) == "250 2.0.0 Taken"
    assert [made["X-MailFrom"] for made in handler.messages] == ["from@example.com"]
    parsed_in, handled_in = handler.threads
    assert parsed_in.name.startswith("ehlo-hook")
    assert handled_in is threading.main_thread()


async def test_a_message_that_cannot_be_parsed_is_451_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    handler = Keeper()
    handler.process_threshold = 1000
    with caplog.at_level(logging.ERROR):
        async with serve(handler, "127.0.0.1", 0) as server:
            reply = await send(server.port, multipart(11_000))
    assert (reply.code, reply.enhanced) == (451, "4.3.0")
    assert "TooManyParts" in caplog.text
    assert handler.messages == []


@pytest.mark.parametrize("handler_class", [Message, AsyncMessage])
def test_a_handler_without_handle_message_cannot_be_made(handler_class: Any) -> None:
    with pytest.raises(TypeError, match="abstract"):
        handler_class()


@pytest.mark.parametrize(("module", "name"), [("no_such_module", "Message"), ("email.message", "Missing")])
def test_the_script_says_that_a_class_is_not_there(module: str, name: str) -> None:
    assert parser_process.main(module, name, "1", "1") == parser_process.NOT_IMPORTABLE
