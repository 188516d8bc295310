"""What can go wrong with a store, and whose fault it is.

InboxError
├── StoreError              the machine's, or whoever chose the file: the text says what to do
│   ├── StoreUnusable       cannot be opened: no store, damaged, of a newer version, in use, no FTS5
│   ├── StoreFull           no room to write; works again when there is room
│   └── StoreClosed         used after ``close``
├── NoSuchMessage           there is none of that number, or no longer
├── NoSuchPart              the message has no part of that number
├── TooManyInboxes          there are as many as there may be
├── InboxTaken              the name or the login belongs to another inbox
└── QuerySyntaxError        in ``ehlo.inbox.query``: what was searched for cannot be understood
"""

from __future__ import annotations

from ehlo.errors import EhloError


class InboxError(EhloError):
    """Root of the inbox's part of the tree."""


class StoreError(InboxError):
    """The store could not do it; nothing is changed."""


class StoreUnusable(StoreError):
    """The file cannot be opened as a store.  The text is for the user, in one line."""


class StoreFull(StoreError):
    """Disk or database are full."""


class StoreClosed(StoreError):
    """The store is closed."""


class NoSuchMessage(InboxError, LookupError):
    """It never was there, or it is deleted."""


class NoSuchPart(InboxError, LookupError):
    """The message has no part of that number, or is not looked into yet."""


class TooManyInboxes(InboxError):
    """There are as many inboxes as there may be."""


class InboxTaken(InboxError):
    """There is an inbox of that name or login, or mail in one."""
