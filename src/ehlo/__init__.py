"""An SMTP and LMTP server that you program in Python.

serve, Controller ...   ehlo.controller    a server in your loop, or in a thread
SMTP, LMTP              ehlo.smtp, .lmtp   one verb, one coroutine: subclass them
Debugging, Mailbox ...  ehlo.handlers      handlers to use and to learn from
Session, Envelope       ehlo.session       what is known of the client and of the mail
Settings                ehlo.settings      everything that a server can be told
Reply, errors           ehlo.protocol, ehlo.errors
                        ehlo.protocol      lines, mail data, grammar, SASL: octets only, no I/O
                        ehlo.net           transports, time, TLS, sockets, the watchdog
                        ehlo.inbox         the mail catcher: store, API, page; Inbox for tests
                        ehlo.report        what is wrong with a message
                        ehlo.compat        aiosmtpd's names, for programs that were written for it
                        ehlo.testing       fakes for your tests
                        ehlo.cli           the command line
"""

from __future__ import annotations

__version__ = "0.1.0"

from ehlo.auth import AuthResult, FileAuthenticator, LoginPassword, auth_mechanism
from ehlo.content import Chunks
from ehlo.controller import (
    Controller,
    SMTPServer,
    UnixSocketController,
    UnixSocketUnthreadedController,
    UnthreadedController,
    serve,
    serve_workers,
)
from ehlo.errors import DataAborted, EhloError, HandlerError, ProtocolError
from ehlo.lmtp import LMTP
from ehlo.net.limits import LimitSettings, Rate, Tarpit
from ehlo.protocol.replies import Reply
from ehlo.protocol.tlsinfo import TLSInfo
from ehlo.session import Disconnect, Envelope, Recipient, Session
from ehlo.settings import BareNewlines, Settings
from ehlo.smtp import SMTP, allow, syntax
from ehlo.stats import Stats

__all__ = [
    "LMTP",
    "SMTP",
    "AuthResult",
    "BareNewlines",
    "Chunks",
    "Controller",
    "DataAborted",
    "Disconnect",
    "EhloError",
    "Envelope",
    "FileAuthenticator",
    "HandlerError",
    "LimitSettings",
    "LoginPassword",
    "ProtocolError",
    "Rate",
    "Recipient",
    "Reply",
    "SMTPServer",
    "Session",
    "Settings",
    "Stats",
    "TLSInfo",
    "Tarpit",
    "UnixSocketController",
    "UnixSocketUnthreadedController",
    "UnthreadedController",
    "allow",
    "auth_mechanism",
    "serve",
    "serve_workers",
    "syntax",
]
