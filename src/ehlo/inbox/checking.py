"""What is wrong with a message that was caught: the rules of ``ehlo.report``, over what the inbox knows of it.

Knows what the rules have to be given.  ``Checker`` asks them in a process of its own, which is ended when it takes too
long: a message is what somebody else made of it, and a server has other things to do.  The process is started when it
is first needed, and is given one message at a time:

    question = length(4) length*OCTET size(8) size*OCTET    ; JSON, and the message
    answer   = length(4) length*OCTET                       ; JSON

An answer of no octets comes first, and says that the process is ready.  The rules are imported by whoever applies them,
for that takes longer than all else: a server that starts does not.
"""

from __future__ import annotations

import json
import struct
import sys
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from ehlo.inbox.child import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from ehlo.inbox.records import EnvelopeRecord, SessionRecord
    from ehlo.report import Mail, Report
    from ehlo.report.authentication import Authentication
    from ehlo.report.dns import Resolver, SystemResolver, Zone

LENGTH: Final = struct.Struct("<I")
SIZE: Final = struct.Struct("<Q")

OCTETS: Final = 16 << 20
"""Of a larger message only the beginning is checked."""
SECONDS: Final = 10.0
"""For one message."""
DNS_SECONDS: Final = 8.0
"""For all questions to name servers about one message."""
VOUCHING_SECONDS: Final = 20.0
"""For one message, where name servers are asked."""
VOUCHING_LIMIT: Final = 8
"""Messages about which name servers are asked, or to be asked next."""
WAITING: Final = 1000
START_SECONDS: Final = 60.0
MEMORY: Final = 1 << 30
KEPT: Final = 500
"""Reports that need not be made again."""
TEXT: Final = 1000
"""Characters of what a finding says."""

_SCRIPT = Path(__file__).with_name("check_worker.py")

# What the end of a session says cannot be held against one that goes on.
_OF_THE_END = {"no-quit"}


class CheckFailed(Exception):
    """There is no report: it took too long, or the process ended.  The text is for the user."""


class Row(NamedTuple):
    """A ``Finding`` of the process; ``severity`` is its name."""

    rule: str
    severity: str
    place: str
    text: str
    source: str


class Checked(NamedTuple):
    """A ``Report`` of the process."""

    is_clean: bool
    findings: tuple[Row, ...]
    maybe_authentication: dict[str, Any] | None = None
    """Results of DKIM, SPF and DMARC, as the API gives them; None where nobody asked."""


class Sending(NamedTuple):
    """From where a message is said to come, and who is asked about it."""

    address: str
    helo: str
    resolver: Zone | SystemResolver


class Subject(NamedTuple):
    """A message with what is known of its way here.  ``maybe_envelope`` None: it was not brought by SMTP."""

    raw: bytes
    size: int
    maybe_envelope: EnvelopeRecord | None
    maybe_session: SessionRecord | None
    maybe_sending: Sending | None = None


def subject_of(raw: bytes, envelope: EnvelopeRecord, session_id: str, maybe_session: SessionRecord | None) -> Subject:
    """For the whole of a message.  Without a session it was put in by hand, and its envelope is made up."""
    return Subject(raw, len(raw), envelope if session_id else None, maybe_session)


def mail_of(subject: Subject) -> Mail:
    """As the rules look at it."""
    return _mail(subject.raw, _facts(subject))


def report_on(subject: Subject) -> Report:
    """Check here and now."""
    return _report(subject.raw, _facts(subject))


class Checker:
    """Checks messages in a process.  ``check`` may be called in any thread.  ``script`` is what the process runs.

    ``seconds`` are for one message, ``limit`` for those that are checked or wait for it.
    """

    def __init__(self, *, seconds: float = SECONDS, script: Path = _SCRIPT, limit: int = WAITING) -> None:
        self._seconds = seconds
        self._places = threading.Semaphore(limit)
        command = [sys.executable, "-P", str(script), str(MEMORY)]
        self._child = Child(command, _read_answer, hello=b"", start_seconds=START_SECONDS)
        # One thread: who else asks waits there, and what he asks about is not read before it is his turn.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ehlo-inbox-check")
        self._kept: OrderedDict[object, Checked] = OrderedDict()

    def check(self, key: object, load: Callable[[], Subject]) -> Future[Checked]:
        """Check what ``load`` gives, unless there is a report by that key; ``CheckFailed``, and what ``load`` raises.

        A session that goes on may yet be the subject of other findings, and name servers may give other answers: of
        these nothing is kept.
        """
        if not self._places.acquire(blocking=False):
            raise CheckFailed("too many messages wait to be checked")
        asked = self._thread.submit(self._check, key, load)
        asked.add_done_callback(lambda _: self._places.release())
        return asked

    def close(self) -> None:
        """End the process, after what it is at."""
        self._thread.shutdown(cancel_futures=True)
        self._child.end()

    def _check(self, key: object, load: Callable[[], Subject]) -> Checked:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        subject = load()
        report = self._ask(subject)
        is_over = subject.maybe_session is None or subject.maybe_session.ended_at is not None
        if is_over and subject.maybe_sending is None:
            self._kept[key] = report
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return report

    def _ask(self, subject: Subject) -> Checked:
        raw = subject.raw[:OCTETS]
        facts = json.dumps(_facts(subject)).encode()
        if not self._child.start():
            raise CheckFailed("the process that checks messages does not start")
        question = [LENGTH.pack(len(facts)), facts, SIZE.pack(len(raw)), raw]
        maybe_answer = self._child.ask(question, self._seconds)
        if maybe_answer is None:
            raise CheckFailed("the message could not be checked: it takes too long, or too much memory")
        told = json.loads(maybe_answer)
        if isinstance(told, str):
            raise CheckFailed(told)
        is_clean, rows, maybe_authentication = told
        return Checked(is_clean, tuple(Row(*row) for row in rows), maybe_authentication)


def _read_answer(pipe: IO[bytes]) -> bytes | None:
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    answer = pipe.read(length)
    return answer if len(answer) == length else None


# What the process is told, and what it tells


def _facts(subject: Subject) -> dict[str, Any]:
    envelope, session = subject.maybe_envelope, subject.maybe_session
    return {
        "size": subject.size,
        "mail_from": None if envelope is None else envelope.mail_from,
        "rcpt_tos": [] if envelope is None else envelope.rcpt_tos,
        "options": [] if envelope is None else envelope.mail_options,
        "lines": None if session is None else [[line.at, line.by, line.text] for line in session.transcript],
        "is_over": session is None or session.ended_at is not None,
        "sending": None if subject.maybe_sending is None else _sending(subject.maybe_sending),
    }


def _sending(sending: Sending) -> dict[str, Any]:
    from ehlo.report.dns import Zone  # noqa: PLC0415 - see the module's text

    facts: dict[str, Any] = {"address": sending.address, "helo": sending.helo}
    resolver = sending.resolver
    if isinstance(resolver, Zone):
        return facts | {"zone": resolver.text}
    return facts | {"zone": None, "servers": (resolver.name_servers, resolver.timeout, resolver.port)}


def answer_to(question: bytes, raw: bytes) -> bytes:
    """In the process: check a message.  JSON of a text says why that cannot be done."""
    facts = json.loads(question)
    report = _report(raw, facts)
    maybe_authentication = None
    if facts["sending"] is not None:
        try:
            authentication = _authenticate(_mail(raw, facts), facts["sending"])
        except ImportError as error:
            return json.dumps(f"this needs {error.name}: pip install 'ehlo[report]'").encode()
        report = report.joined(authentication.findings)
        maybe_authentication = _results(authentication)
    rows = [(one.rule, str(one.severity), one.place[:TEXT], one.text[:TEXT], one.source) for one in report.findings]
    return json.dumps((report.is_clean, rows, maybe_authentication)).encode()


class _Line(NamedTuple):
    at: float
    by: str
    text: str


def _report(raw: bytes, facts: Mapping[str, Any]) -> Report:
    from ehlo.report import Dialogue, check  # noqa: PLC0415 - see the module's text

    lines = facts["lines"]
    report = check(_mail(raw, facts), None if lines is None else Dialogue(tuple(_Line(*line) for line in lines)))
    return report if facts["is_over"] else report.without(_OF_THE_END)


def _mail(raw: bytes, facts: Mapping[str, Any]) -> Mail:
    from ehlo.report import Mail  # noqa: PLC0415

    return Mail(
        raw,
        facts["mail_from"],
        tuple(facts["rcpt_tos"]),
        tuple(facts["options"]),
        facts["size"] if facts["size"] > len(raw) else None,
    )


def _authenticate(mail: Mail, sending: Mapping[str, Any]) -> Authentication:
    from ehlo.report.authentication import authenticate  # noqa: PLC0415
    from ehlo.report.dns import Hurried, SystemResolver, Zone  # noqa: PLC0415

    resolver: Resolver
    if sending["zone"] is not None:
        resolver = Zone(sending["zone"])
    else:
        servers, timeout, port = sending["servers"]
        resolver = Hurried(SystemResolver(tuple(servers), timeout, port=port), DNS_SECONDS)
    return authenticate(mail, resolver, maybe_address=sending["address"], helo=sending["helo"])


def _results(found: Authentication) -> dict[str, Any]:
    spf, dmarc = found.maybe_spf, found.maybe_dmarc
    return {
        "dkim": [
            {
                "domain": one.domain[:TEXT],
                "selector": one.selector[:TEXT],
                "result": one.result,
                "reason": one.reason[:TEXT],
            }
            for one in found.dkim
        ],
        "spf": None
        if spf is None
        else {"domain": spf.domain[:TEXT], "result": str(spf.result), "steps": _cut(spf.steps)},
        "dmarc": None
        if dmarc is None
        else {
            "domain": dmarc.domain[:TEXT],
            "passes": dmarc.passes,
            "request": dmarc.request[:TEXT],
            "steps": _cut(dmarc.steps),
        },
    }


def _cut(steps: tuple[str, ...]) -> list[str]:
    return [step[:TEXT] for step in steps]
