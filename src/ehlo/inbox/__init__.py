"""The inbox: catches mail, keeps it, and lets people and tests look at it and wait for it.

    inbox      Inbox: all of it in a thread, for tests (running, shelf, explain); message: what they get
    server     InboxServer: SMTP and the web in one loop
    catcher    the handler of SMTP; transcript: what was said
    store      messages, sessions and inboxes in SQLite: one thread writes (writer), any thread reads (reader, query)
    parse      what is in a message (mime, html_text, findings); runs in a process of its own (worker, indexer)
    accounts   which inbox a message belongs to
    events     who is told of what happens; waiting: the next message that meets criteria
    web        the API and the page
    records    what passes between the parts

This package needs the standard library only, until its web part is used.  A public name is imported when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ehlo.inbox.inbox import Inbox
    from ehlo.inbox.message import Attachment, Link, Message
    from ehlo.inbox.records import Retention
    from ehlo.inbox.server import InboxServer
    from ehlo.inbox.store import Store

__all__ = ["Attachment", "Inbox", "InboxServer", "Link", "Message", "Retention", "Store"]

_MODULES = {
    "Attachment": "message",
    "Inbox": "inbox",
    "InboxServer": "server",
    "Link": "message",
    "Message": "message",
    "Retention": "records",
    "Store": "store",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
