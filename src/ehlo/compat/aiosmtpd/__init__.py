"""The modules, names, replies and log lines of aiosmtpd 1.4.6: change the import, and the program goes on to run.

    smtp         SMTP, whose verbs answer as aiosmtpd's do; Session, Envelope, AuthResult
    lmtp         LMTP
    controller   Controller and its family
    handlers     Debugging, Sink, Message, Mailbox, Proxy
    main         the command line: ``python -m ehlo.compat.aiosmtpd``
    proxy_protocol, testing.helpers, testing.statuscodes

What is different on purpose, and how to go on to ehlo itself, is in docs/migrating.md.
"""

from __future__ import annotations

import asyncio
import warnings

__version__ = "1.4.6"
"""What this stands for.  It is in the greeting too, which programs and their tests compare."""


def _get_or_new_eventloop() -> asyncio.AbstractEventLoop:
    """The loop of this thread; a new one, which becomes it, if there is none."""
    with warnings.catch_warnings():
        # Python 3.12 and 3.13 warn where 3.14 raises.
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return asyncio.get_event_loop()
        except (DeprecationWarning, RuntimeError):
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            return loop
