"""A server as the one thing that a process does: its address, its loop, its signals, its log, its end.

What the commands share.  Knows terminals and signals; does not know options, handlers or SMTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
import unicodedata
from typing import TYPE_CHECKING

from ehlo.errors import EhloError
from ehlo.net.listen import tcp_sockets
from ehlo.net.systemd import notify, reloading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence

    from ehlo.net.serve import Server
    from ehlo.net.supervisor import Workers

log = logging.getLogger("ehlo.server")

LOOPS = ("auto", "asyncio", "uvloop")
_STOPPING = ("SIGINT", "SIGTERM", "SIGBREAK")  # the last is Ctrl-Break, and Windows' only
_THREAD_NAME = "ehlo-hook"  # as ehlo.shared names them
THREAD_GRACE = 1.0
"""Seconds that hooks in threads have to return when everything else has ended."""

# [HOST][:PORT]; an IPv6 address needs its brackets, since ::1:25 is an address too.
_ADDRESS = re.compile(r"(?:\[(?P<literal>[^\[\]]+)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[^:\[\]]*))?")

_HINTS = {
    errno.EADDRINUSE: "another program listens there; stop it, or choose another port",
    errno.EACCES: "ports below 1024 are for root; choose a higher one",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


class CannotListen(Exception):
    """The address cannot be had; the text is one line for whoever chose it."""


def parse_address(text: str, default_port: int) -> tuple[str | None, int]:
    """Host and port of ``[HOST][:PORT]``; ``ValueError`` with a line for the user.

    The host is None, which is the loopback of IPv4 and IPv6, where there is none or it is "localhost"; "" where it is
    "*", every address of this machine.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError(f"Invalid address: {text} (an IPv6 address goes in brackets: [::1]:{default_port})")
    port = match["port"] or str(default_port)
    if not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise ValueError(f"Invalid port number: {port}")
    host = match["literal"] or match["name"]
    maybe_host = None if host in {"", "localhost"} else "" if host == "*" else host
    return maybe_host, int(port)


async def open_sockets(host: str | None, port: int) -> list[socket.socket]:
    """``tcp_sockets``, with ``CannotListen`` for what goes wrong."""
    with _saying_why(host):
        return await tcp_sockets(host, port)


async def serve_until_signal(server: Server | Workers, on_ready: Callable[[], None]) -> None:
    """Start, say so, and serve until SIGINT or SIGTERM comes; ``CannotListen`` when it does not start.

    The first signal stops as ``Server.stop`` does, the second does not wait for open transactions, the third kills
    workers, and after it (or the second, where there are none) signals do what they did before.  SIGHUP replaces
    workers; one that comes while they are replaced replaces them again, and does not wait for a successor that has not
    come up.  systemd is told of all that.
    """
    tasks: set[asyncio.Task[None]] = set()
    please_reload = asyncio.Event()

    def begin() -> None:
        notify("STOPPING=1")
        tasks.add(asyncio.create_task(server.stop()))

    def stop() -> None:
        if len(steps) == 1:
            signals.close()
        if steps:  # two may have come at once
            steps.pop(0)()

    def ask_to_reload() -> None:
        please_reload.set()
        server.overtake()  # type: ignore[union-attr]

    steps: list[Callable[[], None]] = [begin, server.hurry]
    maybe_reloading = None
    try:
        with contextlib.ExitStack() as signals:
            signals.enter_context(_calling_at_signals(_STOPPING, stop))
            if hasattr(server, "reload"):
                steps.append(server.kill)  # type: ignore[union-attr]
                signals.enter_context(_calling_at_signals(["SIGHUP"], ask_to_reload))
            try:
                with _saying_why(getattr(server, "host", None)):
                    await server.start()
            except (EhloError, RuntimeError):
                if tasks:
                    return  # it was stopped while it started
                raise
            if not tasks:
                notify("READY=1")
            if hasattr(server, "reload"):
                maybe_reloading = asyncio.create_task(_reload_when(please_reload, server.reload, tasks))
            on_ready()
            await server.serve_forever()
    finally:
        if maybe_reloading is not None:
            maybe_reloading.cancel()
        await server.stop()


async def _reload_when(
    asked: asyncio.Event, reload: Callable[[], Awaitable[None]], stopping: Collection[asyncio.Task[None]]
) -> None:
    while True:
        await asked.wait()
        if stopping:
            return
        asked.clear()
        reloading()
        try:
            await reload()
        except EhloError:
            pass  # it is in the log
        except Exception:
            if not stopping:
                log.exception("not reloaded")
        if stopping:
            return  # nothing is ready any more
        notify("READY=1")


@contextlib.contextmanager
def event_loop(name: str = "auto", *, debug: bool | None = None) -> Iterator[asyncio.Runner]:
    """A runner for the process's one loop: one of ``LOOPS``, "auto" being uvloop's where it is installed.

    ``ImportError`` when it is not, and asked for.

    Python waits at its end for every thread of a pool, however long a hook sleeps in it.  Whoever stops a server has
    waited for its grace already; so hooks that still run are left behind, and the process with them.
    """
    before = set(threading.enumerate())
    try:
        with asyncio.Runner(debug=debug, loop_factory=_loop_factory(name)) as runner:
            yield runner
    finally:
        started = [thread for thread in threading.enumerate() if thread not in before]
        _leave_behind([thread for thread in started if thread.name.startswith(_THREAD_NAME)])


def visible(text: str) -> str:
    r"""Text that may go to a terminal, whoever wrote it: what does not print becomes an escape such as ``\x1b``.

    That takes in control characters, and with them escape sequences and new lines; the overrides of bidirectional
    text, which let one thing look like another (https://trojansource.codes); lone surrogates and what is not assigned.
    The two joiners stay: scripts and emoji need them, and they move nothing.
    """
    if text.isprintable():
        return text
    return "".join(_visible_character(character) for character in text)


class SafeFormatter(logging.Formatter):
    """Lines of a log with what peers sent in them, made ``visible``."""

    def format(self, record: logging.LogRecord) -> str:
        """One record; a traceback keeps its lines."""
        return "\n".join(visible(line) for line in super().format(record).split("\n"))


def log_to_stderr(level: int, *, shows_process: bool = False) -> None:
    """Show the log of ``ehlo`` from ``level`` on, and of everything else from WARNING on.

    Nothing happens where the process has set up its logging already.
    """
    logging.getLogger("ehlo").setLevel(level)
    handler = logging.StreamHandler()
    process = "[%(process)d]" if shows_process else ""
    handler.setFormatter(SafeFormatter(f"%(asctime)s %(levelname)s %(name)s{process}: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def _visible_character(character: str) -> str:
    if character.isprintable() or character in "\u200c\u200d":
        return character
    if unicodedata.category(character) == "Zs":
        return " "  # the typographic spaces are harmless, but Python does not call them printable
    return character.encode("unicode_escape").decode()


@contextlib.contextmanager
def _saying_why(host: str | Sequence[str] | None) -> Iterator[None]:
    try:
        yield
    except (socket.gaierror, UnicodeError) as error:  # the second for what cannot be a name, such as "a..b"
        where = f" on {host if isinstance(host, str) else ', '.join(host)}" if host else ""
        raise CannotListen(f"cannot listen{where}: {getattr(error, 'strerror', 'not a host name')}") from error
    except OSError as error:
        hint = _HINTS.get(error.errno or 0)
        reason = error.strerror or str(error)
        raise CannotListen(f"cannot listen: {reason}" + (f" ({hint})" if hint else "")) from error


@contextlib.contextmanager
def _calling_at_signals(names: Sequence[str], callback: Callable[[], None]) -> Iterator[None]:
    """Call back, in the loop that runs, whenever one of these signals arrives; then put back what was there.

    ``signal.signal`` and not ``add_signal_handler``, which Windows does not have.  Nothing happens in a thread, where
    no signal arrives.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    previous = {number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(callback)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            # None is a handler that was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop  # noqa: PLC0415 - may be absent
    except ImportError:
        if name == "uvloop":
            raise
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _leave_behind(threads: list[threading.Thread]) -> None:
    until = time.monotonic() + THREAD_GRACE
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    stuck = [thread for thread in threads if thread.is_alive()]
    if not stuck:
        return
    log.warning("leaving %d hooks behind that did not return", len(stuck))
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
