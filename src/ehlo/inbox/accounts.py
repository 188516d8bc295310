"""Inboxes: which one a message belongs to, who may open it, and new ones.

Knows logins, recipients and tokens; does not know SMTP or HTTP.  All but making and deleting is a look into memory.

    login of an inbox that was made     that inbox
    any other login                     an inbox of its own, named for it, unless that is switched off
    no login: each recipient            the first rule that it matches (``*@team.example``), then ``name`` of
                                        ``any+name@example.com``, then the default inbox
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from ehlo.inbox.errors import TooManyInboxes
from ehlo.inbox.records import DEFAULT_INBOX, InboxRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from ehlo.inbox.store import Store

INBOX_LIMIT: Final = 10_000
NAME_LIMIT: Final = 64
RULE_LIMIT: Final = 254
TTL_LIMIT: Final = 10 * 366 * 86400.0

_NAME = re.compile(r"[a-z0-9][a-z0-9@+._-]{0,63}")
_TAG = re.compile(r"[^+@]*\+([a-z0-9][a-z0-9._-]{0,63})@.*", re.DOTALL)
_NAME_OCTETS = 5
_SECRET_OCTETS = 24


class Rule(NamedTuple):
    """Recipients that match the pattern (``*`` and ``?``) go to this inbox; upper or lower case is all the same."""

    pattern: str
    inbox: str


class Delivery(NamedTuple):
    """Where a copy of a message goes, and for which of its recipients, by their place in the list."""

    inbox: str
    indexes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NewInbox:
    """An inbox that is being made, with what is told once: the token.  ``done`` is when it can be used."""

    record: InboxRecord
    token: str
    done: Future[None]

    def __repr__(self) -> str:
        return f"NewInbox({self.record.name!r})"


class _Tables(NamedTuple):
    """The inboxes that were made, by what they are looked up by."""

    records: Mapping[str, InboxRecord]
    by_login: Mapping[str, InboxRecord]
    by_token: Mapping[bytes, InboxRecord]
    rules: tuple[Rule, ...]


class Accounts:
    """See the module's text.  Safe to use from several threads.

    ``is_login_enough``: a login that belongs to no inbox opens one of its own.  ``has_plus_addresses`` and ``rules``
    are for mail that came without a login.
    """

    def __init__(
        self,
        store: Store,
        *,
        is_login_enough: bool = True,
        has_plus_addresses: bool = True,
        rules: Sequence[Rule] = (),
    ) -> None:
        for rule in rules:
            check_rule(rule.pattern)
        self._store = store
        self._is_login_enough = is_login_enough
        self._has_plus_addresses = has_plus_addresses
        self._rules = tuple(rules)
        self._tables = self._index(store.inbox_records)

    # Where mail goes

    def route(self, login: str | None, rcpt_tos: Sequence[str]) -> tuple[Delivery, ...]:
        """The inboxes that a message goes to: one if somebody has logged in, else as many as the recipients say."""
        maybe_inbox = self.inbox_of_login(login)
        if maybe_inbox is not None or not rcpt_tos:
            return (Delivery(maybe_inbox or DEFAULT_INBOX, tuple(range(len(rcpt_tos)))),)
        found: dict[str, list[int]] = {}
        for index, address in enumerate(rcpt_tos):
            found.setdefault(self.inbox_of_recipient(address), []).append(index)
        return tuple(Delivery(inbox, tuple(indexes)) for inbox, indexes in found.items())

    def inbox_of_login(self, login: str | None) -> str | None:
        """The inbox that this login opens; None if none, and the recipients decide."""
        if login is None:
            return None
        record = self._made.by_login.get(login)
        if record is not None:
            return record.name
        return name_of_login(login) if self._is_login_enough else None

    def inbox_of_recipient(self, address: str) -> str:
        """The inbox for mail to this recipient."""
        address = address.lower()
        for rule in (*self._rules, *self._made.rules):
            if fnmatch.fnmatchcase(address, _pattern(rule.pattern)):
                return rule.inbox
        match = _TAG.fullmatch(address) if self._has_plus_addresses else None
        return match[1] if match else DEFAULT_INBOX

    # Who may

    def check_password(self, login: str, password: str) -> bool | None:
        """Whether this is the password of an inbox that was made; None if the login is of no such inbox."""
        expected = self.password_of(login)
        return None if expected is None else hmac.compare_digest(expected.encode(), password.encode("utf-8", "replace"))

    def password_of(self, login: str) -> str | None:
        """The password of an inbox that was made, for mechanisms that do not send it."""
        record = self._made.by_login.get(login)
        return None if record is None else record.password

    def find_by_token(self, token: str) -> InboxRecord | None:
        """The inbox that a token opens."""
        # The lookup may take longer for some tokens; what that tells of is a hash.
        return self._made.by_token.get(_hash(token))

    # Making and deleting

    def create(self, name: str | None = None, *, ttl: float | None = None, rule: str | None = None) -> NewInbox:
        """Make an inbox; its login is its name, its password and token are new.

        ``ttl`` is how long it and its mail live, in seconds, None: until they are deleted.  ValueError for a name, time
        or rule that cannot be, TooManyInboxes; ``done`` may fail with InboxTaken, also if there is mail of that name.
        """
        if name is None:
            name = f"inbox-{secrets.token_hex(_NAME_OCTETS)}"
        if not _NAME.fullmatch(name) or name == DEFAULT_INBOX:
            raise ValueError(
                f"the name of an inbox has up to {NAME_LIMIT} characters, a-z, 0-9 and @+._-; {DEFAULT_INBOX} is taken"
            )
        if ttl is not None and not 0 < ttl <= TTL_LIMIT:
            raise ValueError("the time to live is more than 0 s and at most ten years")
        if rule is not None:
            check_rule(rule)
        if len(self._store.inbox_records) >= INBOX_LIMIT:
            raise TooManyInboxes(f"there are {INBOX_LIMIT} inboxes already")
        token = secrets.token_urlsafe(_SECRET_OCTETS)
        now = self._store.clock()
        record = InboxRecord(
            name,
            login=name,
            password=secrets.token_urlsafe(_SECRET_OCTETS),
            token_hash=_hash(token),
            rule=rule,
            created_at=now,
            expires_at=None if ttl is None else now + ttl,
        )
        return NewInbox(record, token, self._store.put_inbox(record))

    def delete(self, name: str) -> Future[int]:
        """Delete an inbox and its mail; how many messages there were."""
        return self._store.delete_inbox(name)

    @property
    def _made(self) -> _Tables:
        records = self._store.inbox_records
        if records is not self._tables.records:
            self._tables = self._index(records)
        return self._tables

    @staticmethod
    def _index(records: Mapping[str, InboxRecord]) -> _Tables:
        made = records.values()
        return _Tables(
            records,
            {record.login: record for record in made if record.login is not None},
            {record.token_hash: record for record in made if record.token_hash is not None},
            tuple(Rule(record.rule, record.name) for record in made if record.rule is not None),
        )


def name_of_login(login: str) -> str:
    """The name of the inbox that a login opens: the login, with what is odd in a name written as ``%2f``."""
    name = "".join(
        char
        if char.isalnum() or char in "@+._-"
        else "".join(f"%{octet:02x}" for octet in char.encode("utf-8", "replace"))
        for char in login.lower()
    )
    if len(name) > NAME_LIMIT:
        digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
        name = f"{name[: NAME_LIMIT - len(digest) - 1]}-{digest}"
    return name or DEFAULT_INBOX


def check_rule(pattern: str) -> None:
    """ValueError if it cannot be a rule."""
    if not pattern or len(pattern) > RULE_LIMIT or "@" not in pattern or not pattern.isprintable():
        raise ValueError(f"a rule is a pattern of up to {RULE_LIMIT} characters for addresses, such as *@team.example")


def _pattern(rule: str) -> str:
    """Of fnmatch, where a bracket begins a set of characters; in an address it begins an address literal."""
    return rule.lower().replace("[", "[[]")


def _hash(token: str) -> bytes:
    # Not a slow hash: a token is 192 random bits, which nobody finds by trying.
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
