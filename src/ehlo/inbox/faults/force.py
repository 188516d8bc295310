"""Faults for the time of a test. Knows how they end again; what they are is the scenario's."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from ehlo.inbox.faults.handler import Faults, Given
    from ehlo.inbox.faults.record import Fired


class FaultsInForce:
    """A scenario that is in force on one listener from now on, until ``stop``, or to the end of a ``with`` block."""

    def __init__(self, faults: Faults, scenario: Given, port: int) -> None:
        self._faults = faults
        self._port = port
        self._before = faults.log.count
        self.scenario = faults.set(scenario, port=port)

    @property
    def fired(self) -> list[Fired]:
        """What has happened since, oldest first."""
        log = self._faults.log
        new = log.count - self._before
        return [entry for entry in log.entries()[-new:] if entry.port == self._port] if new > 0 else []

    def stop(self) -> None:
        """No faults any more; nothing happens if others have taken their place."""
        if self._faults.scenario(self._port) is self.scenario:
            self._faults.clear(port=self._port)

    def __enter__(self) -> Self:
        """They are in force already."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()
