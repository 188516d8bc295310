"""The SMTP server: one verb, one coroutine.

Program it by a handler, whose ``handle_VERB`` coroutines answer or decline, or by a subclass of ``SMTP``:
``async def smtp_NOW(self, arg)`` is a NOW command.

Here is what the verbs do and say.  When each is allowed is a table in ``ehlo.protocol.commands``; how a command gets
here is ``ehlo.dispatch``'s; what octets mean is ``ehlo.protocol.framing``'s; waiting, time and TLS are
``ehlo.net.connection``'s.
"""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime
from typing import Any

from ehlo.dispatch import allow, syntax
from ehlo.errors import (
    AddressNeedsUTF8,
    ArgumentError,
    BadSequence,
    CommandNotImplemented,
    Goodbye,
    HandlerError,
    MessageTooBig,
    ParameterNotImplemented,
    TooManyRecipients,
)
from ehlo.hooks import as_reply, encode_answer
from ehlo.net.tls import tls_info
from ehlo.protocol.address import is_helo_name, parse_forward_path, parse_reverse_path, split_mailbox
from ehlo.protocol.parameters import (
    NO_MAIL_PARAMETERS,
    NO_RECIPIENT_PARAMETERS,
    ByMode,
    MailParameters,
    parse_mail_parameters,
    parse_rcpt_parameters,
    split_parameters,
)
from ehlo.protocol.replies import EncodedReply, Reply
from ehlo.session import Disconnect, Recipient
from ehlo.smtp_auth import Authentication
from ehlo.smtp_data import Reception
from ehlo.smtp_proxied import Proxied

__all__ = ["SMTP", "allow", "syntax"]

log = logging.getLogger("ehlo.smtp")


class SMTP(Authentication, Reception, Proxied):
    """One SMTP session (RFC 5321), an ``asyncio.Protocol``: ``loop.create_server(lambda: SMTP(handler))``.

    ``SMTP(handler, **parameters)`` takes the fields of ``Settings`` as keywords; ``shared``, which ``serve`` gives,
    saves each connection the work of looking at them again.  Limits, counters and threads belong to it: without it they
    are those of all connections with the same handler and settings, as long as the handler can be referred to weakly.
    """

    # Greeting

    @syntax("HELO hostname")
    async def smtp_HELO(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.1."""
        hostname = self._helo_name(arg)
        before = self._forget_greeting()
        try:
            reply = self._settle_greeting(await self._call_handler_hook("HELO", hostname), [self.hostname])
        except BaseException:
            self.session.host_name = before
            raise
        self._greeted(hostname, before, reply, keywords=None)
        self._write(reply.data)

    @syntax("EHLO hostname")
    async def smtp_EHLO(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.1: the offer, which the hook may change."""
        hostname = self._helo_name(arg)
        before = self._forget_greeting()
        offer = self._offer
        if "FUTURERELEASE" in offer.keywords:
            offer = self._offer = self._current_offer()  # it says until when, from now
        if "EHLO" not in self._asked:
            self._greeted(hostname, before, EncodedReply(250, offer.data), offer.keywords)
            self._write(offer.data)
            return
        lines = [self.hostname, *offer.lines]
        try:
            answer = await self._call_handler_hook("EHLO", hostname, lines)
            if isinstance(answer, list):
                lines, answer = answer, None
            elif answer is not None:
                lines = list(as_reply(answer).lines)
            reply = self._settle_greeting(answer, lines)
        except BaseException:
            self.session.host_name = before
            raise
        self._greeted(hostname, before, reply, frozenset(line.partition(" ")[0].upper() for line in lines[1:]))
        self._write(reply.data)

    def _forget_greeting(self) -> str | None:
        """Take the name of an earlier greeting away, so that it can be seen whether the hook records one."""
        before, self.session.host_name = self.session.host_name, None
        return before

    def _settle_greeting(self, answer: Any, lines: list[str]) -> EncodedReply:
        """What HELO and EHLO are answered: no enhanced status codes (RFC 2034 §4)."""
        reply = Reply(250, None, tuple(lines)) if answer is None else as_reply(answer)
        if reply.is_intermediate:
            raise HandlerError(f"a hook answered {reply.code}")
        return EncodedReply(reply.code, reply.encode(with_enhanced=False))

    def _helo_name(self, arg: str | None) -> str:
        if arg is None or not is_helo_name(arg):
            raise ArgumentError("no host name", text=f"Syntax: {self._verb} hostname")
        return arg

    def _greeted(self, hostname: str, before: str | None, reply: EncodedReply, keywords: frozenset[str] | None) -> None:
        """Record a greeting that was accepted as far as the hook did not; undo what it recorded of another."""
        session = self.session
        if reply.code >= 400:
            session.host_name = before
            return
        if session.host_name is None:
            # What a trusted host says of its client counts, not what it says of itself.
            session.host_name = hostname if session.xclient is None else session.xclient.helo or hostname
        session.extended_smtp = keywords is not None
        self._offered = keywords or frozenset()
        self._set_rset_state()

    # Transaction

    @syntax("MAIL FROM:<address>", extended=" [SP <mail-parameters>]")
    async def smtp_MAIL(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.2."""
        settings = self.settings
        # RFC 9422 §4.1: MAILMAX counts every MAIL, whether it is accepted or not.
        self._mails += 1
        if self._mails > (settings.mail_limit or math.inf):
            self._stats.limit_mail += 1
            raise Goodbye("over mail_limit", text="Too many messages in one session")
        mailbox, said = parse_reverse_path(arg or "", local_part_limit=settings.local_part_limit)
        options: list[str] = []
        parameters = NO_MAIL_PARAMETERS
        if said:
            options = split_parameters(said)
            parameters = parse_mail_parameters(
                options, offered=self._offered, ignored=settings.ignore_parameters, passed=settings.pass_parameters
            )
            self._check_promises(parameters)
        if not mailbox.isascii() and not parameters.smtputf8:
            raise AddressNeedsUTF8
        self._client.message()
        envelope = self.envelope
        envelope.smtp_utf8 = parameters.smtputf8
        envelope.mail_parameters = parameters
        try:
            answer = await self._call_handler_hook("MAIL", mailbox, options) if "MAIL" in self._asked else None
            code, data = self._settle(answer, "250 2.1.0 OK")
        except BaseException:
            self._set_rset_state()
            raise
        envelope = self.envelope
        if code >= 400:
            self._set_rset_state()
        else:
            if envelope.mail_from is None:
                envelope.mail_from = mailbox
            if options and not envelope.mail_options:
                envelope.mail_options = options
        self._write(data)

    def _check_promises(self, parameters: MailParameters) -> None:
        """Refuse what goes beyond what EHLO said of SIZE, DELIVERBY and FUTURERELEASE."""
        if (parameters.size or 0) > (self.settings.data_size_limit or math.inf):
            raise MessageTooBig  # RFC 1870 §6.1
        soonest, longest = self.shared.honoured.get("DELIVERBY"), self.shared.honoured.get("FUTURERELEASE")
        by = parameters.deliver_by
        if by is not None and isinstance(soonest, int) and by.mode is ByMode.RETURN and by.seconds < soonest:
            raise ArgumentError("BY under the least", text=f"Delivery within less than {soonest} s is not possible")
        hold = float(parameters.hold_for or 0)
        if parameters.hold_until is not None:
            hold = (parameters.hold_until - datetime.now(UTC)).total_seconds()
        if isinstance(longest, int) and hold > longest:
            # RFC 4865 §4.2: 501 with 5.5.4.
            raise ArgumentError("HOLDFOR or HOLDUNTIL over the most", text=f"Cannot hold longer than {longest} s")
        if by is not None and hold > max(by.seconds, 0):
            # RFC 4865 §5.2.2: what is to be delivered before it is to be released cannot be.
            raise ArgumentError("BY before HOLDFOR or HOLDUNTIL", text="BY ends before the message is released")

    @syntax("RCPT TO:<address>", extended=" [SP <rcpt-parameters>]")
    async def smtp_RCPT(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.3."""
        settings, envelope = self.settings, self.envelope
        before = envelope.rcpt_tos[:]
        if len(before) >= settings.recipient_limit:
            self._stats.limit_recipient += 1
            raise TooManyRecipients
        mailbox, said = parse_forward_path(arg or "", local_part_limit=settings.local_part_limit)
        options: list[str] = []
        parameters = NO_RECIPIENT_PARAMETERS
        if said:
            options = split_parameters(said)
            parameters = parse_rcpt_parameters(
                options, offered=self._offered, ignored=settings.ignore_parameters, passed=settings.pass_parameters
            )
        if not envelope.smtp_utf8 and not (arg or "").isascii():
            raise AddressNeedsUTF8  # the path, or ORCPT (RFC 6533 §3)
        if settings.recipient_domain_limit is not None:
            self._count_domain(mailbox, settings.recipient_domain_limit)
        self._client.recipient()
        recipient = Recipient(mailbox, tuple(options), parameters)
        try:
            answer = await self._call_handler_hook("RCPT", recipient, options) if "RCPT" in self._asked else None
            code, data = self._settle(answer, "250 2.1.5 OK")
        except BaseException:
            envelope.rcpt_tos[:] = before
            raise
        if code >= 400:
            envelope.rcpt_tos[:] = before
            self._stats.recipients_refused += 1
        else:
            self._stats.recipients_accepted += 1
            self._record_recipient(recipient, before)
        self._write(data)

    def _record_recipient(self, recipient: Recipient, before: list[str]) -> None:
        """Put a recipient among those ``before`` it, unless the hook has; what the hook has put there is of this RCPT.

        A hook may filter and sort the list too, so what is new is what was not there before, wherever it stands.
        """
        envelope = self.envelope
        envelope.accepted_recipients += 1
        envelope.rcpt_options.extend(recipient.options)
        rcpt_tos = envelope.rcpt_tos
        if "RCPT" not in self.shared.hooks:
            rcpt_tos.append(recipient)
            return
        known = set(map(id, before))
        if len(rcpt_tos) <= len(before) and all(id(each) in known for each in rcpt_tos):
            rcpt_tos.append(recipient)
        rcpt_tos[:] = [
            each
            if isinstance(each, Recipient) or id(each) in known
            else Recipient(each, recipient.options, recipient.parameters)
            for each in rcpt_tos
        ]

    def _count_domain(self, mailbox: str, limit: int) -> None:
        """RFC 9422 §4.3: RCPTDOMAINMAX is for the whole session."""
        domain = split_mailbox(mailbox)[1].lower()
        if domain not in self._domains and len(self._domains) >= limit:
            self._stats.limit_recipient_domain += 1
            raise TooManyRecipients("over recipient_domain_limit", text="Too many recipient domains")
        self._domains |= {domain}

    @syntax("RSET")
    async def smtp_RSET(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.5."""
        if arg:
            raise ArgumentError("argument of RSET", text="Syntax: RSET")
        self._set_rset_state()
        self._write(self._settle(await self._call_handler_hook("RSET"), "250 2.0.0 OK").data)

    # Others

    @syntax("NOOP [ignored]")
    async def smtp_NOOP(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.9."""
        self._write(self._settle(await self._call_handler_hook("NOOP", arg), "250 2.0.0 OK").data)

    @syntax("QUIT")
    async def smtp_QUIT(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.10."""
        if arg:
            raise ArgumentError("argument of QUIT", text="Syntax: QUIT")
        reply = self._settle(await self._call_handler_hook("QUIT"), "221 2.0.0 Bye")
        self.end_session(Disconnect.QUIT)
        self._write(reply.data)

    @syntax("VRFY <address>")
    async def smtp_VRFY(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.6; 252 is the answer of a server that does not tell who lives there (§7.3)."""
        if arg is None:
            raise ArgumentError("VRFY of nobody", text="Syntax: VRFY <address>")
        text, is_utf8 = self._without_smtputf8(arg)
        default = "252 2.5.2 Cannot VRFY user, but will accept message and attempt delivery"
        self._write(self._settle(await self._call_handler_hook("VRFY", text), default, utf8=is_utf8).data)

    @syntax("EXPN <list>")
    async def smtp_EXPN(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.7: nothing by itself."""
        if arg is None:
            raise ArgumentError("EXPN of nothing", text="Syntax: EXPN <list>")
        text, is_utf8 = self._without_smtputf8(arg)
        default = CommandNotImplemented().status
        self._write(self._settle(await self._call_handler_hook("EXPN", text), default, utf8=is_utf8).data)

    def _without_smtputf8(self, arg: str) -> tuple[str, bool]:
        """The argument of VRFY or EXPN without its parameter, which asks for a reply in UTF-8 (RFC 6531 §3.7.4.2)."""
        text, _, last = arg.rpartition(" ")
        if text and last.isascii() and last.upper() == "SMTPUTF8" and "SMTPUTF8" in self._offered:
            return text.rstrip(), True
        return arg, False

    @syntax("ETRN <node>", when="_has_etrn")
    async def smtp_ETRN(self, arg: str | None) -> None:
        """RFC 1985: for a handler that has a queue."""
        if arg is None:
            raise ArgumentError("ETRN of nothing", text="Syntax: ETRN <node>")
        self._write(self._settle(await self._call_handler_hook("ETRN", arg), CommandNotImplemented().status).data)

    @property
    def _has_etrn(self) -> bool:
        return "ETRN" in self.shared.hooks

    @syntax("HELP [command]")
    async def smtp_HELP(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.8."""
        answer = await self._call_handler_hook("HELP", arg)
        if answer is not None:
            self._write(self._settle(answer, "").data)
            return
        shown = {
            verb: entry.function
            for verb, entry in sorted(self._verbs.items())
            if (when := getattr(entry.function, "__smtp_syntax_when__", None)) is None or getattr(self, when, None)
        }
        if arg is None:
            await self.push("214 2.0.0 Supported commands: " + " ".join(shown))
            return
        function = shown.get(arg.upper())
        if function is None:
            raise ParameterNotImplemented("HELP on nothing known", text="No help on that")
        text = getattr(function, "__smtp_syntax__", arg.upper())
        if self.session.extended_smtp:
            text += getattr(function, "__smtp_syntax_extended__", None) or ""
        await self.push(f"214 2.0.0 Syntax: {text}")

    # TLS

    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """RFC 3207."""
        if arg:
            raise ArgumentError("argument of STARTTLS", text="Syntax: STARTTLS")
        context = self.settings.tls_context
        if context is None:
            raise CommandNotImplemented
        if self.session.ssl is not None:
            raise BadSequence("STARTTLS on TLS", text="TLS is already active")
        if not self.session.extended_smtp:
            raise BadSequence("STARTTLS after HELO", text="Say EHLO first")
        if self._framer.buffered:
            log.warning("session %s: octets sent before the TLS handshake were dropped", self.session.id)
        self._write(b"220 2.0.0 Ready to start TLS\r\n")
        await self._start_tls(context, self.settings.tls_handshake_timeout)
        self._stats.tls_handshakes += 1
        self.session.forget()
        self.session.ssl = tls_info(self.transport)
        self._set_rset_state()
        self._forget_offer()
        try:
            answer = await self._call_handler_hook("STARTTLS")
            if answer is not None and encode_answer(answer).code >= 400:
                self._refusal = as_reply(answer)
        except Exception as error:  # noqa: BLE001 - whatever a hook raises must not end the session
            # No reply is due now: the client speaks next.
            self._refusal = as_reply(await self._apology("STARTTLS", error))
