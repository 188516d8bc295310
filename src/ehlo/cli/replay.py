"""``ehlo replay``: a recorded session spoken once more, to another server.  Knows options, time and replies.

What is said is in ``ehlo.cli.recording``.  Only this machine is spoken to, unless ``--allow`` names another.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import ipaddress
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ehlo.cli import terminal
from ehlo.cli.compose import read_file
from ehlo.cli.recording import CannotReplay, read_recording
from ehlo.cli.replay_login import MECHANISMS, Login, find_login
from ehlo.cli.send import PASSWORD_VARIABLE
from ehlo.controller import PORT
from ehlo.net.foreground import parse_address, visible
from ehlo.net.wire import Destination, Wire
from ehlo.protocol.client import UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ehlo.cli.recording import Step
    from ehlo.protocol.replies import Reply

SAME: Final = 0
FAILED: Final = 1
DIFFERENT: Final = 3
_SMTP_PORT = 25
_GOODBYE = 2.0
HIDDEN = "********"


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="ehlo replay",
        description="Send a recorded session again, to the octet and with its pauses, and compare the replies.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog=_EPILOG,
    )
    option = parser.add_argument
    option("file", metavar="FILE", help="what `ehlo inbox session ID` wrote; - is standard input")
    option("--server", metavar="[HOST][:PORT]", default=f":{PORT}", help="the server, on this machine (%(default)s)")
    option("--allow", metavar="HOST", action="append", default=[], help="this server may be elsewhere; repeatable")
    option("--speed", metavar="FACTOR", type=_positive, default=1.0, help="the pauses, so many times shorter")
    option("--no-wait", action="store_true", help="no pauses at all")
    option("--timeout", metavar="SECONDS", type=_positive, default=30.0, help="for each reply (%(default)g)")
    option("--ca", metavar="FILE", type=Path, help="certificates to trust, in PEM, instead of the system's")
    option("--insecure", action="store_true", help="trust any certificate")
    option("--user", help="who logs in, where the session did; as recorded, if it is left out")
    option("--password-file", metavar="FILE", help=f"its first line is the password; or {PASSWORD_VARIABLE}")
    return parser


_EPILOG = """\
exit status:
  0  every reply had the code that it had then
  1  there was no conversation, or the recording cannot be spoken
  2  the command line is wrong
  3  a reply was another one
"""


def main(args: Sequence[str]) -> int:
    """Replay, and return the exit status.  ``SystemExit`` for ``--help`` and for options that are wrong."""
    parser = build_parser()
    options = parser.parse_args(args)
    for stream in (sys.stdout, sys.stderr):
        terminal.never_fail_to_encode(stream)
    try:
        maybe_host, port = parse_address(options.server, _SMTP_PORT)
        addresses = allowed_addresses(maybe_host, port, options.allow)
    except (ValueError, OSError) as error:
        parser.error(visible(str(error)))
    try:
        recording = read_recording(read_file(options.file))
        maybe_login = find_login(recording, options) if recording.mechanisms else None
        context = _tls_context(options) if recording.has_tls else None
        speed = None if options.no_wait else options.speed
        host = maybe_host or "localhost"
        replay = Replay(recording.steps, maybe_login, context, host, speed=speed, timeout=options.timeout)
        return asyncio.run(replay.run(addresses, port))
    except BrokenPipeError:
        # Nobody looks any more, as in `ehlo replay | head`.  Python would try once more, at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (CannotReplay, OSError) as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return FAILED


def allowed_addresses(maybe_host: str | None, port: int, allowed: Sequence[str]) -> list[str]:
    """Where to connect to: what was looked at.  ``ValueError`` for a server that is not known, or not allowed."""
    if not maybe_host:
        return ["127.0.0.1", "::1"]
    try:
        found = socket.getaddrinfo(maybe_host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{maybe_host}: {getattr(error, 'strerror', None) or error}") from None
    addresses = [str(entry[4][0]) for entry in found]
    if maybe_host not in allowed and not all(map(_is_ours, addresses)):
        raise ValueError(f"{maybe_host} is not on this machine: --allow {maybe_host} says that it is meant")
    return addresses


def _is_ours(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    # Python 3.13 says of ::ffff:127.0.0.1 what it is, those before it do not.
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


class Replay:
    """One conversation.  ``speed`` None: no pauses."""

    def __init__(
        self,
        steps: Sequence[Step],
        maybe_login: Login | None,
        maybe_context: ssl.SSLContext | None,
        host: str,
        *,
        speed: float | None,
        timeout: float,
    ) -> None:
        self._steps = steps
        self._maybe_login = maybe_login
        self._maybe_context = maybe_context
        self._host = host
        self._speed = speed
        self._timeout = timeout
        self._wire = Wire()
        self._unsent = b""
        self._challenge = b""
        self._differences = 0
        self._awaited = sum(step.kind == "reply" for step in steps)
        self._is_over = False
        self._goes_on = False

    async def run(self, addresses: Sequence[str], port: int) -> int:
        """Connect and speak; the exit status."""
        try:
            await self._connect(addresses, port)
        except (OSError, TimeoutError) as error:
            return _complain(f"cannot connect to {self._host}:{port}: {_reason(error)}")
        before = 0.0
        try:
            for step, maybe_next in zip(self._steps, [*self._steps[1:], None], strict=True):
                since, before = max(0.0, step.at - before), step.at
                if step.kind != "reply" and self._speed is not None:
                    await asyncio.sleep(since / self._speed)
                # What came in one piece has one time.
                self._goes_on = maybe_next is not None and (maybe_next.kind, maybe_next.at) == ("command", step.at)
                await self._take(step, since)
                if self._is_over:
                    break
        except UpstreamError as error:
            self._differ(f"  {error}")
        except CannotReplay as error:
            return _complain(str(error))
        finally:
            await self._close()
        print(self._result(), flush=True)
        return DIFFERENT if self._differences else SAME

    def _result(self) -> str:
        text = f"{self._differences or 'No'} repl{'y was' if self._differences == 1 else 'ies were'} different."
        return f"{text} {self._awaited} more were not awaited." if self._awaited else text

    async def _connect(self, addresses: Sequence[str], port: int) -> None:
        *others, last = addresses
        for address in others:
            with contextlib.suppress(OSError, TimeoutError):
                return await self._connect_to(address, port)
        return await self._connect_to(last, port)

    async def _connect_to(self, address: str, port: int) -> None:
        async with asyncio.timeout(self._timeout):
            await self._wire.connect(Destination(host=address, port=port, unix_path=None, ssl=None))

    async def _close(self) -> None:
        """Close, and let what was written go out first."""
        self._wire.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await self._wire.lost()
        self._wire.abort()

    async def _take(self, step: Step, recorded: float) -> None:
        match step.kind:
            case "reply":
                wait = self._timeout + (0.0 if self._speed is None else recorded / self._speed)
                self._awaited -= 1
                try:
                    async with _patience(wait):
                        reply = await self._wire.reply()
                except UpstreamError as error:
                    raise UpstreamError(f"{error} (recorded: {step.lines[-1]})") from error
                self._compare(step, reply)
            case "tls":
                await self._start_tls()
            case "close":
                print("-: the client leaves")
                self._is_over = True
            case _:
                await self._say(step)

    async def _say(self, step: Step) -> None:
        octets, words = step.octets, step.words
        if step.answer is not None:
            assert self._maybe_login is not None
            secret = base64.b64encode(MECHANISMS[words](self._maybe_login, step.answer, self._challenge))
            octets += secret + b"\r\n"
            words = f"{step.octets.decode('utf-8', 'replace')}{HIDDEN}"
        mark = " (made up: they were not kept)" if step.is_filled else ""
        print(f"{'-' if step.kind == 'data' else 'C'}: {visible(words)}{mark}", flush=True)
        self._unsent += octets
        if self._goes_on:
            return
        async with _patience(self._timeout):
            self._wire.write(self._unsent)
            self._unsent = b""
            await self._wire.drain()

    async def _start_tls(self) -> None:
        if self._wire.parser.has_unread:
            raise UpstreamError("the server said something before the TLS handshake")
        async with _patience(self._timeout):
            try:
                await self._wire.start_tls(self._maybe_context or ssl.create_default_context(), self._host)
            except ssl.SSLError as error:
                hint = " (see --ca and --insecure)" if isinstance(error, ssl.SSLCertVerificationError) else ""
                raise CannotReplay(f"no TLS: {error}{hint}") from error
        print("-: TLS")

    def _compare(self, step: Step, reply: Reply) -> None:
        if reply.code == 334:
            try:
                self._challenge = base64.b64decode(reply.text)
            except ValueError:  # no challenge: what comes of it shows
                self._challenge = b""
        for line in reply.lines:
            print(f"S: {visible(' '.join(filter(None, (str(reply.code), reply.enhanced, line))))}")
        if str(reply.code) == step.code:
            return
        self._differ(f"  recorded: {step.lines[-1]}")
        if reply.code == 421:  # RFC 5321 §3.8: whoever says it closes
            print("-: the server leaves")
            self._is_over = True
            return
        # Where one waits for mail data, an answer or TLS and the other does not, nothing that follows means the same.
        if "3" in {step.code[0], str(reply.code)[0]} or "220" in {step.code, str(reply.code)}:
            print("-: the session cannot go on as it was recorded")
            self._is_over = True

    def _differ(self, text: str) -> None:
        self._differences += 1
        print(visible(text), flush=True)


@contextlib.asynccontextmanager
async def _patience(seconds: float) -> AsyncIterator[None]:
    """What goes wrong on the wire is ``UpstreamError``; an ``OSError`` of ours is that of the output."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (OSError, TimeoutError) as error:
        raise UpstreamError(_reason(error)) from error


def _tls_context(options: argparse.Namespace) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca)
    except OSError as error:
        raise CannotReplay(f"cannot use {options.ca}: {error.strerror}") from error
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _complain(text: str) -> int:
    print(f"ehlo: {visible(text)}", file=sys.stderr)
    return FAILED


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not error.errno:
        return "no reply in time (see --timeout)"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e9:
        raise ValueError(text)
    return number


_positive.__name__ = "number"  # in "invalid number value"
