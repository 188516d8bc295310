"""What a server can be told. Knows names, defaults and what is nonsense; does not know what they are used for."""

from __future__ import annotations

import logging
import ssl
import warnings
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict

from ehlo.net.limits import NO_LIMITS, LimitSettings

if TYPE_CHECKING:
    from ehlo.auth import AuthResult

log = logging.getLogger("ehlo.smtp")

DATA_SIZE_DEFAULT = 32 * 1024 * 1024
CALL_LIMIT_DEFAULT = 20
RECIPIENT_LIMIT_LEAST = 100
"""RFC 5321 §4.5.3.1.8: "The minimum total number of recipients that MUST be buffered is 100 recipients."."""


class BareNewlines(StrEnum):
    """What to do with a CR without LF, or a LF without CR, in mail data (never in BDAT)."""

    REFUSE = "refuse"
    """550 5.6.11 after the end of data.  Nobody can then take it for an end of data further on."""
    NORMALIZE = "normalize"
    """Each becomes CRLF."""
    KEEP = "keep"
    """The handler gets it as it came.  For test servers: do not relay such a message."""


Authenticator = Callable[[Any, Any, Any, str, Any], "AuthResult | Awaitable[AuthResult]"]


class ControllerParameters(TypedDict, total=False):
    """The keywords of ``Settings`` but ``hostname``, which controllers call ``server_hostname``."""

    data_size_limit: int | None
    enable_SMTPUTF8: bool
    ident: str | None
    tls_context: ssl.SSLContext | None
    require_starttls: bool
    timeout: float
    auth_required: bool
    auth_require_tls: bool
    auth_exclude_mechanism: Collection[str] | None
    command_call_limit: int | Mapping[str, int] | None
    authenticator: Authenticator | object
    proxy_protocol_timeout: float | None
    proxy_networks: Collection[str]
    xclient_networks: Collection[str]
    xforward_networks: Collection[str]
    tls_tickets: bool | None
    data_timeout: float
    data_rate_floor: int
    tls_handshake_timeout: float
    hook_timeout: float
    hook_threads: int
    recipient_limit: int
    recipient_domain_limit: int | None
    mail_limit: int | None
    error_limit: int
    auth_failure_limit: int
    bare_newlines: BareNewlines
    line_length_limit: int | None
    local_part_limit: int
    limits: LimitSettings
    ignore_parameters: Collection[str]
    pass_parameters: Collection[str]


class Parameters(ControllerParameters, total=False):
    """The keywords of ``Settings``, for ``SMTP(handler, **parameters)`` and ``serve(handler, **parameters)``."""

    hostname: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a server can be told, checked once: ``TypeError`` and ``ValueError`` are the caller's fault.

    Sizes in octets, times in seconds.
    """

    data_size_limit: int | None = DATA_SIZE_DEFAULT
    """Largest message, transparency undone (RFC 1870); advertised as SIZE.  None or 0: no limit and no SIZE."""
    enable_SMTPUTF8: bool = True  # noqa: N815 - the name that the field knows
    """Offer SMTPUTF8 (RFC 6531)."""
    hostname: str | None = None
    """The name in the greeting.  None: this host's, looked up once."""
    ident: str | None = None
    """The words after the name in the greeting.  None: "ehlo" and its version."""
    tls_context: ssl.SSLContext | None = None
    """For STARTTLS; None: not offered."""
    require_starttls: bool = False
    """Nothing but NOOP, EHLO, STARTTLS and QUIT before TLS (RFC 3207 §4)."""
    timeout: float = 300.0
    """For a command, from the last reply to its complete line (RFC 5321 §4.5.3.2.7)."""
    auth_required: bool = False
    """530 until the client has authenticated (RFC 4954 §6)."""
    auth_require_tls: bool = True
    """AUTH only on TLS: not offered, and 538, without."""
    auth_exclude_mechanism: Collection[str] | None = None
    """Names of mechanisms that are not to be offered."""
    command_call_limit: int | Mapping[str, int] | None = field(default=None, hash=False)
    """How often a verb may come in one session: one number, or one for each verb and "*" for the others."""
    authenticator: Authenticator | object = field(default=None, hash=False)
    """``f(server, session, envelope, mechanism, auth_data) -> AuthResult``, or an object: see ``ehlo.auth``."""
    proxy_protocol_timeout: float | None = None
    """Not None: connections from ``proxy_networks`` begin with a PROXY header, which must be whole within this time."""
    proxy_networks: Collection[str] = ()
    """Who is believed what a PROXY header says: networks as in "10.0.0.0/8", "unix" for UNIX sockets."""
    xclient_networks: Collection[str] = ()
    """Who may say with XCLIENT that it is somebody else, and even who is logged in."""
    xforward_networks: Collection[str] = ()
    """Who may say with XFORWARD, for the log, from whom a message came."""
    tls_tickets: bool | None = None
    """Whether clients get TLS session tickets; None: as the context has it, for OpenSSL yes."""
    data_timeout: float = 180.0
    """For the next octets of mail data (RFC 5321 §4.5.3.2.5)."""
    data_rate_floor: int = 100
    """Octets per second below which mail data is too slow, after its first minute; 0: never."""
    tls_handshake_timeout: float = 30.0
    hook_timeout: float = 540.0
    """A hook that runs longer is cancelled and the client told 451 (it waits 10 minutes, RFC 5321 §4.5.3.2.6)."""
    hook_threads: int = 32
    """Threads for hooks that are no coroutine functions."""
    recipient_limit: int = 1000
    """Recipients of one transaction; more get 452.  At least 100 (RFC 5321 §4.5.3.1.8)."""
    recipient_domain_limit: int | None = None
    """Different domains of the recipients of one session (RFC 9422 §4.3); more get 452."""
    mail_limit: int | None = None
    """MAIL commands of one session, accepted or not (RFC 9422 §4.1); the next gets 421 and the connection is closed."""
    error_limit: int = 50
    """Commands that break the protocol, of one session; then 421 and close."""
    auth_failure_limit: int = 5
    """Failed AUTH commands of one session; then 421 and close.  At least 3."""
    bare_newlines: BareNewlines = BareNewlines.REFUSE
    line_length_limit: int | None = None
    """Longest line of mail data with its CRLF; None: any (RFC 5321 §4.5.3.1.6 says 1000, real mail says otherwise)."""
    limits: LimitSettings = NO_LIMITS
    """What clients and sessions may do, together and each: see ``ehlo.net.limits``."""
    local_part_limit: int = 0
    """Octets of a local part; 0: any.  §4.5.3.1.1 says 64 and asks receivers not to insist; VERP and SRS pass it."""
    ignore_parameters: Collection[str] = ()
    """Keywords of MAIL and RCPT parameters that are dropped instead of refused with 555."""
    pass_parameters: Collection[str] = ()
    """Keywords of MAIL and RCPT parameters that are not refused but left to the handler."""
    call_limits: Mapping[str, int] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Check, and bring collections into the form that is looked up."""
        if self.data_size_limit is not None and not isinstance(self.data_size_limit, int):
            raise TypeError("data_size_limit must be int or None")
        if (self.data_size_limit or 0) < 0:
            raise ValueError("data_size_limit must not be negative")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be > 0")
        if self.proxy_protocol_timeout is not None and not self.proxy_networks:
            raise ValueError('proxy_protocol_timeout needs proxy_networks: who is believed, as in ["10.0.0.0/8"]')
        if self.recipient_limit < RECIPIENT_LIMIT_LEAST:
            raise ValueError(f"recipient_limit must be at least {RECIPIENT_LIMIT_LEAST} (RFC 5321 §4.5.3.1.8)")
        if self.auth_failure_limit < 3:
            raise ValueError("auth_failure_limit must be at least 3")
        if self.require_starttls and self.tls_context is None:
            raise ValueError("require_starttls needs a tls_context")
        if self.auth_required and not self.auth_require_tls:
            warnings.warn("auth_required without auth_require_tls lets passwords pass in clear", stacklevel=3)
        self._assign("call_limits", _call_limits(self.command_call_limit))
        self._assign("data_size_limit", self.data_size_limit or None)
        for name in _WORDS:
            words = getattr(self, name) or ()
            if isinstance(words, str):
                raise TypeError(f'{name} is a collection of words, as in ["{words}"]')
            self._assign(name, frozenset(words if name.endswith("networks") else map(str.upper, words)))
        self._assign("bare_newlines", BareNewlines(self.bare_newlines))

    def _assign(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


_POSITIVE = (
    "timeout",
    "data_timeout",
    "tls_handshake_timeout",
    "hook_timeout",
    "hook_threads",
    "error_limit",
    "mail_limit",
    "recipient_domain_limit",
    "line_length_limit",
    "proxy_protocol_timeout",
)
_WORDS = (
    "auth_exclude_mechanism",
    "ignore_parameters",
    "pass_parameters",
    "proxy_networks",
    "xclient_networks",
    "xforward_networks",
)


def _call_limits(limit: int | Mapping[str, int] | None) -> Mapping[str, int] | None:
    if limit is None:
        return None
    if isinstance(limit, int):
        return MappingProxyType({"*": limit})
    if not isinstance(limit, Mapping):
        raise TypeError("command_call_limit must be int or Dict[str, int]")
    if not all(isinstance(number, int) for number in limit.values()):
        raise TypeError("All command_call_limit values must be int")
    return MappingProxyType({"*": CALL_LIMIT_DEFAULT, **{verb.upper(): number for verb, number in limit.items()}})
