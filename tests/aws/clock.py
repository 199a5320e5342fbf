"""What takes time in the simulated AWS, and what goes wrong while it does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("cluster", "nodegroup", "addon", "database", "stack")


class Clock:
    """
    Makes things happen after their time.

    ``seconds``: how long creating, changing and deleting takes, by kind; 0: it is done at once.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._pending: list[tuple[float, Callable[[], object]]] = []
        self._spoiled: dict[str, list[str]] = {}
        self._ahead = 0.0

    def reset(self) -> None:
        """Forget what was to happen; nothing takes time."""
        self.__init__()  # type: ignore[misc]

    def now(self) -> float:
        """Return the time that it shows, in seconds."""
        return time.monotonic() + self._ahead

    def pass_time(self, seconds: float) -> None:
        """Go on at once to a later time."""
        self._ahead += seconds

    def after(self, kind: str, happen: Callable[[], object]) -> None:
        """Let something happen when the time of its kind has passed."""
        seconds = self.seconds.get(kind, 0)
        if seconds:
            self._pending.append((self.now() + seconds, happen))
        else:
            happen()

    def tick(self) -> None:
        """Let happen what is due, in its order."""
        now = self.now()
        due = sorted((each for each in self._pending if each[0] <= now), key=lambda each: each[0])
        self._pending = [each for each in self._pending if each[0] > now]
        for _, happen in due:
            happen()

    def spoil(self, kind: str, reason: str) -> None:
        """Let the next thing of a kind that is created or changed fail."""
        self._spoiled.setdefault(kind, []).append(reason)

    def trouble(self, kind: str) -> str | None:
        """Return why the thing that begins now is to fail; None: it isn't."""
        reasons = self._spoiled.get(kind)
        return reasons.pop(0) if reasons else None


CLOCK = Clock()
