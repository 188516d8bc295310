"""Why a wait came to nothing, in words for whoever reads the failure of a test.  Knows records; waits for nothing.

Everything that a peer sent passes through ``visible``.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from ehlo.inbox.criteria import Criteria
from ehlo.net.foreground import visible

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ehlo.inbox.records import SessionRecord, Summary

LIST_LIMIT = 20
"""Messages and sessions that are told of, the newest ones."""

_NAMES = {"to": "to", "from_": "from", "subject": "subject"}


def describe(criteria: Criteria) -> str:
    """What was waited for, as in ``message to 'ann@example.com' with subject /code/``."""
    words = ["message"]
    for attribute, word in (("from_", "from"), ("to", "to"), ("subject", "with subject")):
        wanted = getattr(criteria, attribute)
        if wanted is not None:
            words += [word, _quoted(wanted)]
    if criteria.q is not None:
        words += ["found by", repr(criteria.q)]
    return " ".join(words)


def explain(
    criteria: Criteria,
    where: str,
    summaries: Sequence[Summary],
    taken: Collection[int],
    sessions: Sequence[SessionRecord],
) -> str:
    """What arrived instead, and why it was not that; who connected and was refused; or that nobody came."""
    return "\n".join(_explanation(criteria, where, summaries, taken, sessions))


def list_messages(summaries: Sequence[Summary]) -> str:
    """A line for each message, the last ones if there are many."""
    return "\n".join(_line(summary) for summary in summaries[-LIST_LIMIT:])


def _explanation(
    criteria: Criteria,
    where: str,
    summaries: Sequence[Summary],
    taken: Collection[int],
    sessions: Sequence[SessionRecord],
) -> Iterator[str]:
    if summaries:
        yield f"What did arrive at {where}{_only_the_last(summaries)}:"
        for summary in summaries[-LIST_LIMIT:]:
            yield _line(summary)
            yield from (
                f"      {visible(reason)}" for reason in _reasons(criteria, summary, is_taken=summary.id in taken)
            )
    elif sessions:
        yield f"Nothing arrived at {where}, though somebody was there:"
    else:
        yield f"Nothing arrived at {where}, and nobody connected: is that where the application sends its mail?"
    told = [session for session in sessions if session.is_refused or not summaries]
    if told and summaries:
        yield f"Sessions that were refused or broke off{_only_the_last(told)}:"
    for session in told[:LIST_LIMIT]:
        problem = session.problem or ("what it sent is deleted" if session.messages else "sent nothing")
        yield visible(f"  {session.peer} {session.helo or 'without a greeting'}: {problem}")


def _line(summary: Summary) -> str:
    when = time.strftime("%H:%M:%S", time.localtime(summary.received_at))
    recipients = ", ".join(summary.rcpt_tos)
    return visible(f"  #{summary.id} {when} from <{summary.mail_from}> to {recipients}: {summary.subject!r}")


def _reasons(criteria: Criteria, summary: Summary, *, is_taken: bool) -> Iterator[str]:
    """What keeps a message from being the one."""
    reasons = [
        f"{word} is not {_quoted(wanted)}"
        for attribute, word in _NAMES.items()
        if (wanted := getattr(criteria, attribute)) is not None and not Criteria(**{attribute: wanted}).matches(summary)
    ]
    if is_taken and not reasons:
        reasons.append("an earlier wait had it (again=True takes it once more)")
    elif criteria.q is not None and not reasons:
        reasons.append(f"{criteria.q!r} does not find it")
    yield from reasons


def _only_the_last(records: Sequence[object]) -> str:
    return f" (the last {LIST_LIMIT} of {len(records)})" if len(records) > LIST_LIMIT else ""


def _quoted(wanted: str | re.Pattern[str]) -> str:
    return f"/{wanted.pattern}/" if isinstance(wanted, re.Pattern) else repr(wanted)
