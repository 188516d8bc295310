"""What a server counts. Knows names and numbers; does not know who counts, or who reads.

Every field is a plain ``int`` that only grows, for as long as the server lives: whoever wants a rate takes a copy now
and another later, and subtracts them.  Counting is ``stats.commands += 1``; there is no lock, because each field has
one thread that counts it (the loop's, or the watchdog's for ``stalls``) and readers may be anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Self


@dataclass(slots=True)
class Stats:
    """The counters of one server; see the module's text.

    ``Stats.from_dict(stats.as_dict())`` is the same again, so they pass through JSON; ``sum(several, Stats())`` is the
    whole of several worker processes, ``later - earlier`` is what happened in between.
    """

    # Sessions: all that were opened, and how each of those that are over has ended (the values of ``Disconnect``).
    sessions_opened: int = 0
    sessions_ended_quit: int = 0
    sessions_ended_closed: int = 0
    sessions_ended_timeout: int = 0
    sessions_ended_refused: int = 0
    sessions_ended_errors: int = 0
    sessions_ended_tls: int = 0
    sessions_ended_proxy: int = 0
    sessions_ended_shutdown: int = 0
    sessions_ended_failure: int = 0

    # Who was refused before a first command; those whom a limit refused are among the limits, below.
    refused_by_hook: int = 0
    refused_early_talkers: int = 0

    tls_handshakes: int = 0
    """Those that succeeded."""
    tls_failures: int = 0

    commands: int = 0
    """Lines that were read as commands, whatever became of them."""
    junk_commands: int = 0
    """Of these, the ones that bring no mail forward; counted where ``junk_commands_per_session`` is set."""
    errors: int = 0
    """Commands that were refused because the client broke the protocol or met a limit, not by a hook."""

    messages_accepted: int = 0
    messages_refused: int = 0
    """Answered 4xx or 5xx after the end of the data."""
    messages_aborted: int = 0
    """The data ended too early, or the client gave up between two chunks."""
    recipients_accepted: int = 0
    recipients_refused: int = 0
    data_octets: int = 0
    """Octets of mail data, transparency undone."""

    auth_successes: int = 0
    auth_failures: int = 0

    hook_exceptions: int = 0
    """Hooks that raised or did what a hook must not do; those that took too long are among them."""
    hook_timeouts: int = 0
    stalls: int = 0
    """How often something blocked the event loop for longer than ``stall_threshold``."""

    # How often somebody met a limit: first the fields of ``LimitSettings``, then those of ``Settings``.
    limit_connections: int = 0
    limit_connections_per_client: int = 0
    limit_connection_rate: int = 0
    limit_message_rate: int = 0
    limit_recipient_rate: int = 0
    limit_auth_failure_rate: int = 0
    limit_error_rate: int = 0
    limit_commands_per_session: int = 0
    limit_junk_commands_per_session: int = 0
    limit_mail: int = 0
    limit_recipient: int = 0
    limit_recipient_domain: int = 0
    limit_command_call: int = 0
    limit_error: int = 0
    limit_auth_failure: int = 0
    tarpits: int = 0
    """Replies that were delayed."""

    def count(self, name: str) -> None:
        """Count what is known by its name only; ``AttributeError`` when there is no such counter."""
        setattr(self, name, getattr(self, name) + 1)

    def as_dict(self) -> dict[str, int]:
        """Every counter by its name, in the order above."""
        return asdict(self)

    @classmethod
    def from_dict(cls, counts: Mapping[str, int]) -> Self:
        """The counters of another process, perhaps of another version: those that are not known here are left out."""
        return cls(**{name: counts[name] for name in _NAMES if name in counts})

    def copy(self) -> Self:
        """The counters as they are now."""
        return replace(self)

    def __add__(self, other: Stats) -> Stats:
        return Stats(*(getattr(self, name) + getattr(other, name) for name in _NAMES))

    def __sub__(self, other: Stats) -> Stats:
        return Stats(*(getattr(self, name) - getattr(other, name) for name in _NAMES))


_NAMES = tuple(field.name for field in fields(Stats))
