"""Whole sessions, SMTP and LMTP: from octets as they are, and from a grammar.

A seed of ``session`` is a line that configures (see ``conversation.read_config``), and then what the client sends.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from typing import TYPE_CHECKING, Final

from fuzz.checks import require
from fuzz.choices import Choices, cut, take_line
from fuzz.conversation import Config, Conversation, converse, read_config
from fuzz.grammar import write_dialogue
from fuzz.oracle import account, check_events

if TYPE_CHECKING:
    from collections.abc import Sequence

# The first line of a seed, or what decides instead of it for ``dialogue``.
_CONFIG_OCTETS: Final = 17
# Chosen at random: identifiers, and the challenges of SASL.  And of two things that are wrong with a message, the first
# that arrives is told.
_MAY_DIFFER: Final = re.compile(rb"queued as [0-9a-f-]+|334 [^\r]*|550 5\.6\.11 [^\r]*|552 5\.3\.4 [^\r]*")
_DEPENDS_ON_PIECES: Final = (b"Mail data without permission", b"Ready to start TLS")

_loop: asyncio.AbstractEventLoop | None = None


def fuzz_session(data: bytes) -> None:
    """Octets as they are."""
    choices, sent = take_line(data)
    check(*read_config(choices), sent)


def fuzz_dialogue(data: bytes) -> None:
    """Commands by the grammar, and then some mutations."""
    config, how, sent = dialogue_of(data)
    check(config, how, sent)


def dialogue_of(data: bytes) -> tuple[Config, int, bytes]:
    """What ``fuzz_dialogue`` makes of its octets."""
    config, how = read_config(Choices(data[:_CONFIG_OCTETS]))
    return config, how, write_dialogue(Choices(data[_CONFIG_OCTETS:]), is_lmtp=config.is_lmtp)


def check(config: Config, how: int, sent: bytes) -> None:
    """Play it whole and in pieces, and require what must hold of both and of the two together."""
    in_pieces = play(config, cut(sent, how))
    _check_one(in_pieces)
    if how == 0 or config.ends_abruptly:
        return
    at_once = play(dataclasses.replace(config, is_patient=True, feeds_in_callbacks=True), [sent] if sent else [])
    _check_one(at_once)
    if any(_depends_on_pieces(each) for each in (in_pieces, at_once)):
        return
    wires = [_MAY_DIFFER.sub(b"", each.wire) for each in (in_pieces, at_once)]
    require(wires[0] == wires[1], f"it depends on the cut what is said: {wires}")
    events = [each.notes.events for each in (in_pieces, at_once)]
    require(events[0] == events[1], f"it depends on the cut what is done: {events}")


def _depends_on_pieces(conversation: Conversation) -> bool:
    """Whether it rightly matters what was sent together: STARTTLS, a refused DATA, a handler that stops reading."""
    return any(text in conversation.wire for text in _DEPENDS_ON_PIECES) or any(
        verb == "DATA_BEGUN" for verb, _ in conversation.notes.events
    )


def play(config: Config, pieces: Sequence[bytes]) -> Conversation:
    """One session, in the loop that all of them share."""
    global _loop  # noqa: PLW0603 - a loop for each would cost more than the session
    if _loop is None or _loop.is_closed():
        _loop = asyncio.new_event_loop()
    failures: list[str] = []
    _loop.set_exception_handler(lambda _, context: failures.append(repr(context)))
    conversation = _loop.run_until_complete(converse(config, pieces))
    require(not failures, f"the loop caught {failures}")
    return conversation


def _check_one(conversation: Conversation) -> None:
    check_events(conversation, account(conversation))
