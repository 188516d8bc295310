"""Where the compatibility package says, does or logs something else than aiosmtpd, on purpose, and why.

A row of docs/migrating.md has the same id.  A difference that is in no row fails the comparison, and so does a row
that no dialogue shows any more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Aspect = Literal["said", "seen", "logged"]


@dataclass(frozen=True)
class Shown:
    """Dialogues that show it.

    ``dialogue`` matches the whole name of one, and ``ours`` what we say in the step where the difference begins, or
    what our hook saw, or what we logged there; both are regular expressions.
    """

    dialogue: str
    ours: str = ".*"
    aspects: tuple[Aspect, ...] = ("said",)

    def covers(self, dialogue: str, aspect: Aspect, ours: str) -> bool:
        return (
            aspect in self.aspects
            and re.fullmatch(self.dialogue, dialogue) is not None
            and re.fullmatch(self.ours, ours, re.DOTALL) is not None
        )


@dataclass(frozen=True)
class Deviation:
    """``what`` aiosmtpd does and what we do, and ``why``."""

    id: str
    what: str
    why: str
    shown: tuple[Shown, ...]


_EVERYTHING: Final[tuple[Aspect, ...]] = ("said", "seen", "logged")

DEVIATIONS: Final = (
    Deviation(
        "bare-newline",
        "A command line with a bare CR, a bare LF or NUL: 250 there, 500 Error: bad syntax here.",
        "Where a line ends is not to be guessed: two servers that guess differently are how mail is smuggled.",
        (
            Shown(
                r"lines: (?:a bare LF|two bare LF|a bare CR within|a CR too many|NUL).*",
                r"500 Error: bad syntax\r\n",
            ),
            Shown(r"lines: (?:a bare LF|two bare LF|a bare CR within|a CR too many|NUL).*", aspects=("logged",)),
        ),
    ),
    Deviation(
        "limits-unstuffed",
        "Lines and messages are measured with the doubled dots there, without them here. Of a line that is too long "
        "and makes a message too large, 552 is told there, 500 here.",
        "RFC 1870 §3 counts a message so; and whether a line is too long does not depend on its first octet.",
        (
            Shown(r"mail data: .* and a dot with .*", aspects=_EVERYTHING),
            Shown(r"mail data: 100[01] octets with size 1000 .*", r"500 .*"),
        ),
    ),
    Deviation(
        "command-size",
        "Every EHLO raises the limit of MAIL there, and a limit of a subclass counts before EHLO only.",
        "The limits are of the class there, shared by all its connections.",
        (
            Shown("limits: EHLO again and again .*", r"500 Command line too long\r\n"),
            Shown("limits: EHLO again and again .*", aspects=("logged",)),
            Shown("lines: short commands .*", r"500 Command line too long\r\n"),
        ),
    ),
    Deviation(
        "failed-data",
        "After a hook that failed in DATA, and after mail data that could not be decoded, the transaction is still "
        "open there; it is over here.",
        "The next DATA would go to the recipients of the failed message.",
        (
            Shown(r"hooks: DATA raises, and what is left then .*", r"250 OK\r\n", ("said", "seen")),
            Shown(r"hooks: handles exceptions .*", aspects=("seen",)),
            Shown(r"hooks: DATA raises, .*", aspects=("logged",)),
            Shown(r"mail data: (?:octets|UTF-8|half a UTF-8 sequence) with (?:legacy )?decode .*", r"503 .*"),
        ),
    ),
    Deviation(
        "auth-case",
        "AUTH plain: 504 there, as good as AUTH PLAIN here.",
        "RFC 4954 §4: clients may write the name of a mechanism in any case.",
        (
            Shown(r"AUTH: lower case(?: mechanism| LOGIN)? with .*", r"(?:235|334) .*"),
            Shown(r"AUTH: lower case(?: mechanism| LOGIN)? with .*", aspects=("seen", "logged")),
        ),
    ),
    Deviation(
        "auth-implicit-tls",
        "With ssl_context, AUTH is refused and session.ssl is None there; here TLS is TLS.",
        "RFC 8314 §3.3: AUTH over TLS from the first octet is how mail is submitted.",
        (Shown(r"TLS: AUTH with wrapped.*", aspects=_EVERYTHING),),
    ),
    Deviation(
        "auth-legacy",
        "A mechanism of a handler that returns an identity leaves session.authenticated None there; it is True here.",
        "The client heard 235.",
        (Shown(r"AUTH: NAME.* on the handler .*", aspects=("seen",)),),
    ),
    Deviation(
        "auth-silent",
        "AuthResult(success=False), handled by default: the client hears nothing there, 535 here if nothing was sent.",
        "The client waits until one of the two gives up.",
        (Shown(r"AUTH: a refusal without a word.*", r"535 5.7.8 Authentication credentials invalid\r\n"),),
    ),
    Deviation(
        "auth-async",
        "An authenticator that is a coroutine function: 235 for everybody there; here it is awaited.",
        "Whoever comes gets in.",
        (Shown(r"AUTH: .* with a coroutine .*", aspects=_EVERYTHING),),
    ),
    Deviation(
        "auth-long",
        "Responses of more than 500 (at once) or 1000 octets (in steps) are refused there, up to 12288 taken here.",
        "RFC 4954 §4.",
        (Shown(r"AUTH: PLAIN of \d+ octets.*", aspects=_EVERYTHING),),
    ),
    Deviation(
        "starttls-twice",
        "A second STARTTLS: 220 and the end there, 503 here.",
        "RFC 3207 §4: it is out of sequence.",
        (Shown(r"TLS: STARTTLS twice .*", aspects=("said", "logged")),),
    ),
    Deviation(
        "starttls-hook",
        "A handle_STARTTLS that is a coroutine function lets everybody in there; here it is awaited. One that raises "
        "ends the connection, which asyncio logs there, and mail.log here.",
        "Whoever comes gets in.",
        (
            Shown(r"TLS: judged with tls refused later .*", r"554 Command refused due to lack of security\r\n"),
            Shown(r"TLS: judged with tls raises later .*", r".*\(closed\)|ConnectionResetError"),
            Shown(r"TLS: judged with tls .* later .*", aspects=("seen",)),
            Shown(r"TLS: judged with tls (?:refused|raises) later .*", aspects=("logged",)),
            Shown(r"TLS: judged with tls raises .*", r"ERROR \(peer\) Exception in handle_STARTTLS\(\)", ("logged",)),
        ),
    ),
    Deviation(
        "starttls-proxy-data",
        "STARTTLS loses session.proxy_data there; it is kept here.",
        "The header was not the client's word but the proxy's.",
        (Shown(r"PROXY: then STARTTLS .*", aspects=("seen",)),),
    ),
    Deviation(
        "half-close",
        "A client that ends its half while a hook has its message is cut off, and the hook cancelled, there; here it "
        "gets all its replies. Within a PROXY header it is waited for there, until the time-out; closed here.",
        "The message came whole, and nothing more can come.",
        (
            Shown(r"lines: EOF (?:while the hook runs|with a whole session) .*", r".*250 Kept\r\n.*"),
            Shown(r"lines: EOF (?:while the hook runs|with a whole session) .*", aspects=("seen", "logged")),
            Shown(r"PROXY: .* and the end .*", r"\(closed\)"),
            Shown(r"PROXY: .* and the end .*", aspects=("logged",)),
        ),
    ),
    Deviation(
        "after-goodbye",
        "Commands behind QUIT, or behind a 421 or 502 that ends the session, are read and logged there, not here.",
        "Nothing is done with them.",
        (
            Shown(
                r"lines: (?:unknown verbs at once|commands behind QUIT) .*|limits: commands behind one too many .*",
                aspects=("logged",),
            ),
        ),
    ),
    Deviation(
        "proxy-port",
        "A port such as 1_0 is 10 there, and malformed here.",
        "It is what int() makes of it, not what the protocol says a port is.",
        (Shown(r"PROXY: v1 a port with an underscore .*", aspects=_EVERYTHING),),
    ),
    Deviation(
        "proxy-tlv",
        "ProxyData.tlv raises IndexError for an empty SSL TLV, RecursionError for nested ones there; it is None here.",
        "The octets are chosen by whoever connects.",
        (Shown(r"PROXY: v1 UNKNOWN with a space .*", aspects=("seen",)),),
    ),
)

# The rows that no dialogue can show, because they are about time, memory or the program around: what shows them.
SHOWN_ELSEWHERE: Final = {
    "memory": ("test_smtp.py", "test_a_line_without_an_end_takes_no_memory"),
    "client-gone": ("test_smtp.py", "test_a_message_that_came_whole_is_handled_when_its_client_has_gone"),
    "login-data": ("test_differential.py", "test_the_server_does_not_warn_of_itself"),
    "proxy-loss": ("test_handlers.py", "test_proxy_never_says_250_without_the_next_server"),
    "time": ("test_smtp.py", "test_mail_data_that_arrive_have_as_much_time_as_they_need"),
    "hook-time": ("test_smtp.py", "test_a_hook_that_takes_too_long_is_a_temporary_error"),
    "no-timeout": ("test_smtp.py", "test_a_session_that_cannot_read_ends"),
    "names": ("test_smtp.py", "test_no_more_public_names_are_taken_than_documented"),
    "host-name": ("test_smtp.py", "test_this_host_is_asked_for_its_name_once"),
    "log": ("test_differential.py", "test_mail_data_are_not_logged"),
    "streams": ("test_smtp.py", "test_what_a_program_does_not_read_is_commands_again"),
    "port-0": ("test_controller.py", "test_a_port_that_the_system_chooses_is_told"),
    "start": ("test_controller.py", "test_no_client_comes_but_those_from_outside"),
    "restart": ("test_controller.py", "test_it_starts_again_after_it_has_stopped"),
    "stop": ("test_controller.py", "test_stop_does_not_wait_for_clients"),
    "command-line": ("test_main.py", "test_a_message_is_printed_and_a_signal_ends_it"),
}
