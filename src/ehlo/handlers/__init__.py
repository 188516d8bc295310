"""Handlers to use and to learn from.

Debugging       prints each message                          a plain hook: it may wait, and harms nobody
Sink            throws it away                               a streaming hook: nothing is buffered
Message         gives it to you as an email.message.Message  subclass it: one method
AsyncMessage    the same, for a coroutine
Mailbox         stores it in a Maildir                       durable before the reply
Proxy           relays it while it arrives                   answers what the next server answered
"""

from __future__ import annotations

from ehlo.handlers.debugging import Debugging, Sink
from ehlo.handlers.mailbox import Mailbox
from ehlo.handlers.message import AsyncMessage, Message, MessageBase
from ehlo.handlers.proxy import Proxy

__all__ = ["AsyncMessage", "Debugging", "Mailbox", "Message", "MessageBase", "Proxy", "Sink"]
