"""Every exception that ehlo raises, and the reply that each one means.

Three kinds of fault are kept apart:

    EhloError
    ├── ProtocolError               the peer's fault: it is told ``status`` and the session goes on
    │   ├── CommandSyntaxError      500 5.5.2   no command line of RFC 5321
    │   │   └── LineTooLong         500 5.5.2
    │   ├── UnknownCommand          500 5.5.1
    │   ├── ArgumentError           501 5.5.4   a known verb, an argument that does not parse
    │   ├── CommandNotImplemented   502 5.5.1
    │   ├── BadSequence             503 5.5.1
    │   ├── ParameterNotImplemented 504 5.5.4   a known parameter with a value that we do not do
    │   ├── BadAddress              553 5.1.3
    │   │   ├── BadSenderAddress    553 5.1.7   the same in MAIL
    │   │   └── AddressNeedsUTF8    553 5.6.7   an internationalised address without SMTPUTF8
    │   ├── UnknownParameter        555 5.5.4
    │   ├── MessageTooBig           552 5.3.4
    │   ├── TooManyRecipients       452 4.5.3
    │   ├── BareNewline             550 5.6.11  bare CR or LF in mail data
    │   ├── TLSRequired             530 5.7.0
    │   ├── AuthenticationRequired  530 5.7.0
    │   ├── EncryptionRequired      538 5.7.11  AUTH that would be allowed on TLS
    │   ├── UnknownMechanism        504 5.5.4
    │   ├── AuthenticationCancelled 501 5.7.0   the client said "*"
    │   ├── AuthenticationSyntaxError  501 5.5.2
    │   ├── AuthenticationLineTooLong  500 5.5.6
    │   └── Goodbye                 421 4.7.0   told, then the connection is closed
    │       ├── IdleTimeout         421 4.4.2   the client took too long
    │       ├── ShuttingDown        421 4.3.2   nobody's fault: the server stops
    │       ├── BadChunkSize        501 5.5.4   where the chunk of a BDAT ends is not known
    │       ├── GateClosed                      not told: no PROXY header, or a bad one
    │       └── TLSFailed                       not told: there is no common language any more
    ├── SessionEnded                nobody is left to be told anything
    │   └── Disconnected            the transport is gone
    ├── TransactionAborted          the client gave a message up between two BDAT commands; it knows
    ├── DataAborted                 mail data will never be complete; raised into handle_DATA_STREAM
    └── HandlerError                the handler's fault: 451 for the client, the detail in the log
        └── HookTimeout             a hook ran longer than ``hook_timeout``

Errors that only one part raises stand there: what SASL says in ``ehlo.protocol.sasl``, a relay's ``UpstreamError`` in
``ehlo.protocol.client``, ``ProxyError`` in ``ehlo.protocol.proxy``.

The caller's own mistakes (a wrong argument of a Python call) are plain ``TypeError`` and ``ValueError``.
"""

from __future__ import annotations

from typing import ClassVar


class EhloError(Exception):
    """Root of the tree."""


class ProtocolError(EhloError):
    """The peer broke a rule.

    ``str(error)`` is the detail for the log.  ``status`` is what the peer is told: generic unless the
    raiser gives a ``text`` of its own, which must never quote the peer's octets (they may hold CR, LF
    or a password).
    """

    code: ClassVar[int] = 500
    enhanced: ClassVar[str] = "5.5.2"
    text: str = "Syntax error"
    is_counted: ClassVar[bool] = True
    """Whether it counts against ``error_limit``: what an honest client may run into does not."""

    def __init__(self, detail: str = "", *, text: str | None = None) -> None:
        if text is not None:
            self.text = text
        super().__init__(detail or self.text)

    @property
    def status(self) -> str:
        """Code, enhanced status code and text, as in ``"501 5.5.4 Syntax error in argument"``."""
        return f"{self.code} {self.enhanced} {self.text}"


class CommandSyntaxError(ProtocolError):
    """The line is no command line (RFC 5321 §4.1.1): empty, NUL, bare CR or LF, bad octets."""


class LineTooLong(CommandSyntaxError):
    """A line passes its limit (RFC 5321 §4.5.3.1.4)."""

    text = "Line too long"


class UnknownCommand(ProtocolError):
    """No such verb here."""

    enhanced = "5.5.1"
    text = "Command not recognized"


class ArgumentError(ProtocolError):
    """The verb is known, what follows it does not parse."""

    code = 501
    enhanced = "5.5.4"
    text = "Syntax error in argument"


class CommandNotImplemented(ProtocolError):
    """The verb is known and not offered."""

    code = 502
    enhanced = "5.5.1"
    text = "Command not implemented"


class BadSequence(ProtocolError):
    """The command is not allowed at this stage of the session (RFC 5321 §4.1.4)."""

    code = 503
    enhanced = "5.5.1"
    text = "Bad sequence of commands"


class ParameterNotImplemented(ProtocolError):
    """The parameter is known, its value is not supported (RFC 5321 §4.2.2)."""

    code = 504
    enhanced = "5.5.4"
    text = "Parameter not implemented"


class BadAddress(ProtocolError):
    """A path that is no path of RFC 5321 §4.1.2 or RFC 6531 §3.3 (5.1.3: bad destination, RFC 3463 §3.2)."""

    code = 553
    enhanced = "5.1.3"
    text = "Malformed address"


class BadSenderAddress(BadAddress):
    """The same in MAIL: ``5.1.7`` of RFC 3463 §3.2."""

    enhanced = "5.1.7"


class AddressNeedsUTF8(BadAddress):
    """An internationalised address in a transaction without SMTPUTF8 (RFC 6531 §3.5)."""

    enhanced = "5.6.7"
    text = "Internationalized address needs SMTPUTF8"


class UnknownParameter(ProtocolError):
    """A MAIL or RCPT parameter that was not offered (RFC 5321 §4.1.1.11)."""

    code = 555
    enhanced = "5.5.4"
    text = "Parameters not recognized or not implemented"


class MessageTooBig(ProtocolError):
    """Declared or real size over the limit (RFC 1870 §6)."""

    code = 552
    enhanced = "5.3.4"
    text = "Message size exceeds fixed maximum message size"
    is_counted = False


class TooManyRecipients(ProtocolError):
    """Over ``recipient_limit`` (RFC 5321 §4.5.3.1.10)."""

    code = 452
    enhanced = "4.5.3"
    text = "Too many recipients"
    is_counted = False


class BareNewline(ProtocolError):
    """A CR without LF or a LF without CR in mail data (RFC 5321 §2.3.8, §4.1.1.4)."""

    code = 550
    enhanced = "5.6.11"
    text = "Bare CR or LF in mail data"
    is_counted = False


class AuthenticationRequired(ProtocolError):
    """RFC 4954 §6."""

    code = 530
    enhanced = "5.7.0"
    text = "Authentication required"


class TLSRequired(ProtocolError):
    """RFC 3207 §4."""

    code = 530
    enhanced = "5.7.0"
    text = "Must issue a STARTTLS command first"


class EncryptionRequired(ProtocolError):
    """RFC 4954 §6: this mechanism would work on TLS."""

    code = 538
    enhanced = "5.7.11"
    text = "Encryption required for requested authentication mechanism"


class UnknownMechanism(ProtocolError):
    """RFC 4954 §4."""

    code = 504
    enhanced = "5.5.4"
    text = "Unrecognized authentication type"


class AuthenticationCancelled(ProtocolError):
    """The client answered a challenge with ``*`` (RFC 4954 §4)."""

    code = 501
    enhanced = "5.7.0"
    text = "Authentication cancelled"


class AuthenticationSyntaxError(ProtocolError):
    """Bad base64 (RFC 4954 §4)."""

    code = 501
    enhanced = "5.5.2"
    text = "Cannot decode base64"


class AuthenticationLineTooLong(ProtocolError):
    """RFC 4954 §4 and §6."""

    code = 500
    enhanced = "5.5.6"
    text = "Authentication exchange line is too long"


class Goodbye(ProtocolError):
    """Told with 421, then the connection is closed (RFC 5321 §3.8).

    ``why`` is the value of ``ehlo.Disconnect`` that ``handle_DISCONNECT`` gets.
    """

    code = 421
    enhanced = "4.7.0"
    text = "Too many errors, closing connection"
    why: ClassVar[str] = "errors"
    is_told: bool = True


class IdleTimeout(Goodbye):
    """The client let a deadline pass (RFC 5321 §4.5.3.2)."""

    enhanced = "4.4.2"
    text = "Timeout, closing connection"
    why = "timeout"


class ShuttingDown(Goodbye):
    """The server stops (RFC 5321 §3.8)."""

    enhanced = "4.3.2"
    text = "Service shutting down, closing connection"
    why = "shutdown"


class GateClosed(Goodbye):
    """The PROXY header is malformed, late or missing: who this is nobody knows, and so nobody is told anything."""

    why = "proxy"
    is_told = False


class BadChunkSize(Goodbye):
    """The size of a BDAT command cannot be read, so nobody knows where its chunk ends and the next command begins."""

    code = 501
    enhanced = "5.5.4"
    text = "Syntax: BDAT <size> [LAST]; closing connection"


class TLSFailed(Goodbye):
    """The handshake failed or took too long; ``__cause__`` says how."""

    why = "tls"
    is_told = False


class SessionEnded(EhloError):
    """The session is over and nobody is left to be told."""


class Disconnected(SessionEnded):
    """The transport is gone: what was to be written cannot be, what was to be read will not come."""


class TransactionAborted(EhloError):
    """The client gave a message up between two BDAT commands, with RSET, EHLO or QUIT, and has its reply to that."""


class DataAborted(EhloError):
    """The mail data will never be complete, and whatever was made of it must be thrown away.

    Raised by the iterator that ``handle_DATA_STREAM`` reads; ``__cause__`` says why where there is more to say.
    """


class HandlerError(EhloError):
    """A hook did what a hook must not do, such as returning a status that is no reply."""


class HookTimeout(HandlerError):
    """A hook ran longer than ``hook_timeout`` seconds and was cancelled."""
