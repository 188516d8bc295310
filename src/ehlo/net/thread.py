"""A server in a thread of its own, with a loop of its own. Knows threads and loops; does not know what is served."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from ehlo.net.serve import GRACE

if TYPE_CHECKING:
    from ehlo.net.serve import Server

log = logging.getLogger("ehlo.server")

AnyServer = TypeVar("AnyServer", bound="Server")


class ServerThread(Generic[AnyServer]):
    """Runs the server that ``make_server`` makes, in the thread, each time it is started."""

    def __init__(
        self,
        make_server: Callable[[], AnyServer],
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self.server: AnyServer | None = None
        self._make_server = make_server
        self._loop_factory = loop_factory
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main_task: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._please_stop = asyncio.Event()
        self._is_wanted = False
        self._grace = GRACE

    def start(self, timeout: float) -> None:
        """Start, and return when it accepts connections.

        Raises what kept it from listening (``OSError``), ``TimeoutError`` after ``timeout`` seconds, and
        ``RuntimeError`` when it runs already.
        """
        if self._thread is not None and self._thread.is_alive():
            raise RuntimeError("the controller is running")
        ready = threading.Event()
        self._failure = None
        self._is_wanted = True
        self._thread = threading.Thread(target=self._run, args=(ready,), name="ehlo-controller", daemon=True)
        self._thread.start()
        if not ready.wait(timeout):
            self._request_end(at_once=True)
            self._thread.join()
            self._thread = None
            raise TimeoutError(f"the server did not start within {timeout:g} s")
        failure = self._take_failure()
        if failure is not None:
            self._thread.join()
            self._thread = None
            raise failure

    def stop(self, grace: float = GRACE) -> None:
        """Stop as ``Server.stop`` does, and return when the thread has ended; nothing happens when it does not run.

        Called in that very thread, by a coroutine hook, it returns at once.  A plain hook that calls it is waited for
        no longer than ``grace``, as any other is.
        """
        thread = self._thread
        if thread is None:
            return
        self._grace = grace
        self._request_end(at_once=False)
        if thread is not threading.current_thread():
            thread.join()
            self._thread = None

    def _take_failure(self) -> BaseException | None:
        failure, self._failure = self._failure, None
        return failure

    def _request_end(self, *, at_once: bool) -> None:
        """Let the thread end.  ``at_once``: even if the server has not come to serving yet."""
        self._is_wanted = False  # first: a thread that has no loop yet looks at this when it has one
        loop, main_task = self._loop, self._main_task
        if loop is not None and main_task is not None:
            with contextlib.suppress(RuntimeError):  # closed already: the thread is about to end
                loop.call_soon_threadsafe(main_task.cancel if at_once else self._please_stop.set)

    def _run(self, ready: threading.Event) -> None:
        try:
            with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                runner.run(self._main(ready))
        except BaseException as error:
            if ready.is_set():
                log.exception("the thread of a controller ends")
            else:
                self._failure = error  # raised in the thread that waits for it
        finally:
            self.server = self._loop = self._main_task = None
            ready.set()

    async def _main(self, ready: threading.Event) -> None:
        self._please_stop = asyncio.Event()
        self._main_task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if not self._is_wanted:
            return
        self.server = self._make_server()
        async with self.server:
            ready.set()
            await self._please_stop.wait()
            await self.server.stop(self._grace)
