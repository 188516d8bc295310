"""Several processes that serve one address: they are started, watched, replaced and stopped.

The supervisor opens the sockets, and keeps them for as long as it runs: what the system has queued for a worker that
dies waits for its successor.  Workers are new processes, not copies of this one, so they see the code and the
configuration as they are when they are started.  Knows processes and counters; does not know what is served.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ehlo.net.back_off import BackOff
from ehlo.net.channel import Order
from ehlo.net.foreground import LOOPS
from ehlo.net.listen import inode_of, multiply, remove_unix_socket, tcp_sockets, unix_socket
from ehlo.net.serve import GRACE
from ehlo.net.shared_registry import SharedRegistry, new_file
from ehlo.net.worker_process import WorkerFailed, WorkerProcess, describe_status
from ehlo.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger("ehlo.workers")

LINGER = 5.0
"""Seconds that a worker which is replaced goes on with its sessions, so that who has just come has not come in vain."""
REPORT_INTERVAL = 1.0
"""Seconds from one report of a worker's counters to the next."""
MISSED_REPORTS = 5
"""How many reports a worker must be allowed to miss before it is taken for one that hangs."""
SEATS_OF_A_POST = 3
"""Processes that may have a post at a time: one that ends, one that is killed, and one that starts."""
_LOOKS = 10
"""How often a worker is found silent before it is killed, in all of ``hang_timeout``."""


@dataclass
class _Post:
    """Where one worker serves, and after it its successors."""

    number: int
    sockets: Sequence[socket.socket]
    maybe_worker: WorkerProcess | None = None
    is_deserted: bool = False
    """Whether connections are in the queues of its sockets that nobody accepts but another worker."""
    back_off: BackOff = field(default_factory=BackOff)
    maybe_restart: asyncio.Task[None] | None = None


class Workers:
    """Worker processes on one address; ``ehlo.serve_workers`` makes them.

        async with serve_workers("package.module:make_server", port=25, workers=4) as workers:
            await workers.serve_forever()

    ``application`` and ``arguments`` say what they serve, see there; ``host`` and ``port``, ``unix_path`` or
    ``sockets`` where, as for ``Server``.  ``loop`` is "auto", "asyncio" or "uvloop".  They can be started again after
    they have stopped, unless they were given ``sockets``, which are closed then.
    """

    def __init__(
        self,
        application: str,
        arguments: Sequence[str] = (),
        *,
        workers: int,
        host: str | Sequence[str] | None = None,
        port: int = 0,
        unix_path: str | os.PathLike[str] | None = None,
        sockets: Sequence[socket.socket] | None = None,
        loop: str = "auto",
        secret: bytes,
        ready_timeout: float,
        hang_timeout: float | None,
    ) -> None:
        if sys.platform == "win32":
            raise RuntimeError("worker processes need POSIX: Windows hands no listening sockets over")
        if workers < 1:
            raise ValueError("workers must be at least 1")
        if loop not in LOOPS:
            raise ValueError(f"loop is one of {', '.join(LOOPS)}: {loop!r}")
        if sum(where is not None for where in (host, unix_path, sockets)) > 1:
            raise ValueError("give host and port, unix_path or sockets, and not several of them")
        if sockets is not None and not sockets:
            raise ValueError("no sockets to listen on")
        _check_arguments(arguments)
        _check_timeouts(ready_timeout, hang_timeout)
        self.count = workers
        self.host = host
        self._application = application
        self._arguments = [*arguments]
        self._port = port
        self._unix_path = unix_path
        self._given_sockets = sockets
        self._loop_name = loop
        self._secret = secret
        self._ready_timeout = ready_timeout
        self._hang_timeout = hang_timeout
        self._key = secrets.token_bytes(32)
        self._seats = SEATS_OF_A_POST * workers
        self._free_seats = [*range(self._seats)]
        self._maybe_clients: int | None = None
        self._inode: tuple[int, int] | None = None
        self._sockets: list[socket.socket] = []
        self._posts: list[_Post] = []
        # Each worker, and the task that is over when the worker is.
        self._running: dict[WorkerProcess, asyncio.Task[None]] = {}
        self._past = Stats()
        self._maybe_listening: asyncio.Task[None] | None = None
        self._maybe_candidate: WorkerProcess | None = None
        self._last_reason = ""
        self._is_killing = False
        self._stopped: asyncio.Event | None = None
        self._is_stopping = False
        self._changing = asyncio.Lock()

    # Facts

    @property
    def stats(self) -> Stats:
        """What has happened in all workers since the start, in those that are gone too, as of their last reports.

        Workers report each second and when they end, so what is missing is a second of each, and for good what one did
        between its last report and a violent death.
        """
        return sum((worker.stats for worker in self._running), self._past)

    @property
    def pids(self) -> list[int]:
        """The processes that serve; those that are about to end are not among them."""
        return [post.maybe_worker.pid for post in self._posts if post.maybe_worker is not None]

    @property
    def addresses(self) -> list[Any]:
        """Where they listen: ``(host, port)``, ``(host, port, flow, scope)`` or a path each."""
        return [bound.getsockname() for bound in self._posts[0].sockets] if self._sockets else []

    @property
    def port(self) -> int:
        """The TCP port, also when it was chosen by 0; ``RuntimeError`` when there is none."""
        for bound in self._sockets:
            if bound.family in {socket.AF_INET, socket.AF_INET6}:
                return int(bound.getsockname()[1])
        raise RuntimeError("the workers listen on no TCP port")

    # Life

    async def start(self) -> None:
        """Listen, start the workers, and return when they are ready.

        ``OSError`` when an address cannot be had.  The first worker is started alone: when it does not come up, it is
        ``WorkerFailed``, and sockets that were given are still open.  When another one does not, that is as if it had
        died.
        """
        if self._stopped is not None and not self._stopped.is_set():
            raise RuntimeError("the workers are running")
        if any(bound.fileno() == -1 for bound in self._given_sockets or ()):
            raise RuntimeError("the sockets that were given are closed")
        self._stopped = asyncio.Event()
        self._is_stopping = self._is_killing = False
        self._last_reason = ""
        self._past = Stats()
        try:
            async with self._changing:
                await self._open()
                await self._fill(self._posts[0])
                await asyncio.gather(*map(self._try_to_fill, self._posts[1:]))
        except BaseException:
            if not self._is_stopping:
                if self._given_sockets is not None:
                    self._sockets = []  # they remain whose they are
                await self._end(grace=0)
            raise
        if self._is_stopping:
            raise RuntimeError("the workers were stopped while they started")
        if self._hang_timeout is not None:
            self._maybe_listening = asyncio.create_task(self._listen_for_silence(self._hang_timeout))
        log.info("%d workers serve %s", len(self.pids), ", ".join(map(_name, self.addresses)))

    async def serve_forever(self) -> None:
        """Wait until somebody stops the workers; a cancellation stops them too."""
        if self._stopped is None:
            raise RuntimeError("the workers have not been started")
        try:
            await self._stopped.wait()
        finally:
            await self.stop()

    async def stop(self, grace: float = GRACE) -> None:
        """Let nobody new in, let open transactions finish within ``grace`` seconds, end all workers.

        Called again while that goes on, it waits for the same end.
        """
        if self._stopped is None or self._stopped.is_set():
            return
        if self._is_stopping:
            await self._stopped.wait()
            return
        log.info("stopping %d workers", len(self._running))
        await self._end(grace)
        log.info("stopped: %s", describe_stats(self._past))

    def hurry(self) -> None:
        """While they stop: wait no longer for open transactions."""
        for worker in self._running:
            worker.stop(0)

    def kill(self) -> None:
        """While they stop: end them at once, whatever they do."""
        self._is_killing = True
        for worker in self._running:
            worker.kill()

    def overtake(self) -> None:
        """Give up a reload whose next worker has not come up yet: ``reload`` raises ``WorkerFailed`` then."""
        if self._maybe_candidate is not None:
            self._maybe_candidate.give_up("a newer reload goes before it")

    async def reload(self, *, linger: float = LINGER, grace: float = GRACE) -> None:
        """Replace the workers one by one, and return when the old ones have ended.

        Each one's successor is started, and when it is ready, the old one is told to let nobody new in, to go on for
        ``linger`` seconds, and then to stop with ``grace``.  ``WorkerFailed`` when a successor does not come up: then
        it and those after it go on as they are.  Called again, it gives up a successor that has not come up yet.
        """
        self.overtake()
        async with self._changing:
            if not self._posts or self._is_stopping:
                raise RuntimeError("the workers are not running")
            log.info("replacing %d workers", self.count)
            self._last_reason = ""
            old: list[WorkerProcess] = []
            try:
                for post in self._posts:
                    maybe_old = await self._replace(post)
                    post.back_off = BackOff()
                    if maybe_old is not None:
                        maybe_old.stop(grace, linger)
                        old.append(maybe_old)
            except WorkerFailed as failure:
                self._complain("not replaced: ", failure)
                raise
            finally:
                await self._wait_for(old)
            log.info("replaced %d workers", self.count)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    # Sockets

    async def _open(self) -> None:
        self._maybe_clients = new_file(self._seats)
        if self._given_sockets is not None:
            groups = [[*self._given_sockets]] * self.count
        elif self._unix_path is not None:
            bound = unix_socket(self._unix_path)
            self._inode = inode_of(bound.getsockname())
            groups = [[bound]] * self.count
        else:
            groups = multiply(await self._bind(), self.count)
        self._posts = [_Post(number, group) for number, group in enumerate(groups, start=1)]
        self._sockets = [*{bound.fileno(): bound for group in groups for bound in group}.values()]

    async def _bind(self) -> list[socket.socket]:
        self._sockets = await tcp_sockets(self.host, self._port)  # to be closed, should there be no more of them
        return self._sockets

    def _close(self) -> None:
        if self._inode is not None:
            remove_unix_socket(self._sockets[0], self._inode)
            self._inode = None
        for bound in self._sockets:
            bound.close()
        self._sockets = []

    # Workers

    async def _fill(self, post: _Post, *, is_reload: bool = False) -> WorkerProcess | None:
        """Start a worker, give it the post when it is ready, and give back who had it; ``WorkerFailed``."""
        if not self._free_seats:
            raise WorkerFailed(f"worker {post.number} could not be started: too many are about to end")
        seat = self._free_seats.pop()
        try:
            worker = await WorkerProcess.start(post.number, self._order(post, seat))
        except BaseException as error:
            self._free_seats.append(seat)
            if isinstance(error, OSError):
                raise WorkerFailed(f"worker {post.number} could not be started: {error}") from error
            raise
        worker.on_leaving = partial(self._on_leaving, post, worker)
        self._running[worker] = asyncio.create_task(self._look_after(post, worker))
        log.debug("%s: started", worker)
        if self._is_stopping:
            worker.kill()
        if is_reload:
            self._maybe_candidate = worker
        try:
            await worker.come_up(self._ready_timeout)
        finally:
            if is_reload:
                self._maybe_candidate = None
        if worker.status is not None:
            raise WorkerFailed(f"{worker} died at once: {describe_status(worker.status)}")
        if worker.is_dismissed:
            raise WorkerFailed(f"{worker} was told to end at once")
        maybe_before, post.maybe_worker = post.maybe_worker, worker
        post.is_deserted = False
        log.info("%s: ready", worker)
        self._share_out()
        return maybe_before

    async def _replace(self, post: _Post) -> WorkerProcess | None:
        """Fill a post where somebody may be already, and give back who that was; if it fails, there still is."""
        self._give_up_restart(post)
        try:
            maybe_old = await self._fill(post, is_reload=True)
        except WorkerFailed:
            if post.maybe_worker is None:
                self._restart(post, 0)
            raise
        self._give_up_restart(post)  # the old one may have died meanwhile
        return maybe_old

    async def _try_to_fill(self, post: _Post) -> None:
        try:
            await self._fill(post)
        except WorkerFailed as failure:
            self._complain("", failure)
            self._desert(post, 0)

    async def _look_after(self, post: _Post, worker: WorkerProcess) -> None:
        """Until the worker has ended; then see to it that there is another one, if it was wanted."""
        status = await worker.end()
        self._past += worker.stats
        del self._running[worker]
        assert self._maybe_clients is not None
        SharedRegistry(self._maybe_clients, seats=self._seats, seat=worker.seat, key=self._key).vacate(worker.seat)
        self._free_seats.append(worker.seat)
        if worker.is_dismissed and status == 0:
            log.info("%s: stopped", worker)
        elif self._is_killing:
            log.info("%s: killed", worker)
        elif worker.ready_since is not None:
            log.error("%s: died: %s", worker, describe_status(status))
        if post.maybe_worker is worker:
            self._desert(post, worker.lived)

    def _on_leaving(self, post: _Post, worker: WorkerProcess) -> None:
        log.warning("%s: somebody has told it to stop", worker)
        if post.maybe_worker is worker:
            self._desert(post, worker.lived)

    def _desert(self, post: _Post, lived: float) -> None:
        post.maybe_worker = None
        post.is_deserted = True
        self._share_out()
        self._restart(post, lived)

    def _share_out(self) -> None:
        """Let workers accept from the sockets of posts that are deserted: for each the next one that there is.

        Linux goes on giving connections to a socket that listens, whoever has it.
        """
        filled = [post for post in self._posts if post.maybe_worker is not None]
        if self._is_stopping or not filled:
            return
        covers: dict[int, list[int]] = {post.number: [] for post in filled}
        for deserted in self._posts:
            if deserted.is_deserted:
                neighbour = min(filled, key=lambda post: (post.number - deserted.number) % self.count)
                covers[neighbour.number] += _descriptors(deserted, but=neighbour)
        for post in filled:
            assert post.maybe_worker is not None
            post.maybe_worker.cover(covers[post.number])

    def _restart(self, post: _Post, lived: float) -> None:
        self._give_up_restart(post)
        if not self._is_stopping:
            post.maybe_restart = asyncio.create_task(self._fill_again(post, lived))

    def _give_up_restart(self, post: _Post) -> None:
        if post.maybe_restart is not None:
            post.maybe_restart.cancel()
            post.maybe_restart = None

    async def _fill_again(self, post: _Post, lived: float) -> None:
        while True:
            delay = post.back_off.delay_after(lived)
            log.warning("worker %d: to be started again %s", post.number, f"in {delay:g} s" if delay else "now")
            await asyncio.sleep(delay)
            try:
                await self._fill(post)
            except WorkerFailed as failure:
                self._complain("", failure)
                lived = 0
            else:
                return

    def _complain(self, prefix: str, failure: WorkerFailed) -> None:
        """Once for each reason: all workers may have the same, and each again and again."""
        if self._is_stopping:
            return
        is_known = failure.reason == self._last_reason
        self._last_reason = failure.reason
        log.log(logging.DEBUG if is_known else logging.ERROR, "%s%s", prefix, failure)

    async def _listen_for_silence(self, timeout: float) -> None:
        # By turns of this loop, and not by the clock: a machine that slept has made everybody silent.
        while True:
            await asyncio.sleep(timeout / _LOOKS)
            for worker in self._running:
                worker.silence += 1
                if worker.silence >= _LOOKS and worker.ready_since is not None:
                    log.error("%s: killed, because it has said nothing for %g s", worker, timeout)
                    worker.kill()

    def _order(self, post: _Post, seat: int) -> Order:
        assert self._maybe_clients is not None
        return Order(
            application=self._application,
            arguments=self._arguments,
            sockets=_descriptors(post),
            others=[each for other in self._posts if other is not post for each in _descriptors(other, but=post)],
            loop=self._loop_name,
            clients=self._maybe_clients,
            seats=self._seats,
            seat=seat,
            key=self._key.hex(),
            secret=self._secret.hex(),
            interval=REPORT_INTERVAL,
        )

    async def _end(self, grace: float) -> None:
        assert self._stopped is not None
        self._is_stopping = True
        self._close()
        self._cancel_tasks()
        for worker in self._running:
            worker.stop(grace)
        try:
            async with self._changing:  # who comes up meanwhile is sent away
                await self._wait_for(self._running)
        finally:
            for worker in self._running:  # this was cancelled
                worker.kill()
            await self._wait_for(self._running)
            if self._maybe_clients is not None:
                os.close(self._maybe_clients)
                self._maybe_clients = None
            self._stopped.set()

    async def _wait_for(self, workers: Iterable[WorkerProcess]) -> None:
        tasks = [self._running[worker] for worker in workers if worker in self._running]
        if tasks:
            await asyncio.wait(tasks)

    def _cancel_tasks(self) -> None:
        for post in self._posts:
            self._give_up_restart(post)
        if self._maybe_listening is not None:
            self._maybe_listening.cancel()


def _descriptors(post: _Post, *, but: _Post | None = None) -> list[int]:
    """The sockets of a post, without those that another one has too."""
    return [bound.fileno() for bound in post.sockets if but is None or bound not in but.sockets]


def _check_arguments(arguments: Sequence[str]) -> None:
    if isinstance(arguments, str):
        raise TypeError(f"arguments is a sequence of texts, and not a text: {arguments!r}")
    for number, argument in enumerate(arguments):
        if not isinstance(argument, str):
            raise TypeError(f"arguments[{number}] is a text, and not {type(argument).__name__}")


def _check_timeouts(ready_timeout: float, hang_timeout: float | None) -> None:
    if not ready_timeout > 0:
        raise ValueError(f"ready_timeout must be more than 0: {ready_timeout}")
    least = MISSED_REPORTS * REPORT_INTERVAL
    if hang_timeout is not None and not hang_timeout >= least:
        raise ValueError(f"hang_timeout must be at least {least:g}, or None: {hang_timeout}")


def describe_stats(stats: Stats) -> str:
    """The counters that are not 0, on a line."""
    counted = [f"{name} {count}" for name, count in stats.as_dict().items() if count]
    return ", ".join(counted) or "nothing happened"


def _name(address: Any) -> str:
    return address if isinstance(address, str) else f"[{address[0]}]:{address[1]}"
