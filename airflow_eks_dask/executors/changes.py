"""
What happens to lanes and clusters, kept in Airflow's audit log.

The Airflow scheduler knows it, and the page is served by another process, maybe on another machine: what they share is
Airflow's database. Airflow writes what an executor leaves for its audit log, shows it under Browse, and ``airflow db
clean`` removes what is old.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow.models.log import Log

log = logging.getLogger(__name__)

LANE_MOVED = "dask lane moved"
"""New tasks of a ``lane`` run on ``cluster``; ``former`` is where they ran before, None if the executor has started."""
LANE_LOST = "dask lane lost"
"""It is not known any more where the cluster of a ``lane`` is: its new tasks wait."""
CLUSTER_CONNECTED = "dask cluster connected"
CLUSTER_UNREACHED = "dask cluster not reached"
CLUSTER_LOST = "dask cluster lost"
CLUSTER_LEFT = "dask cluster left"
"""No lane uses a ``cluster``, and nothing runs there any more."""
QUEUE_NOT_SERVED = "queue not served"

LIMIT, WINDOW = 60, 3600.0
"""
How many entries about connections are written in how many seconds: one that comes and goes all the time must not fill
Airflow's database. What lanes do is always written, as somebody has decided that.
"""


@dataclass(frozen=True)
class Change:
    """
    Something that happened.

    :param event: What, in the words of the audit log.
    :param about: ``cluster`` and ``lane`` by name, ``reason`` in words, as far as there are any.
    """

    event: str
    about: dict[str, str | None] = field(default_factory=dict)


class Journal:
    """
    Makes entries of the audit log.

    :param owner: Who makes them.
    :param clock: Seconds that only go forward.
    """

    def __init__(self, owner: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._owner = owner
        self._clock = clock
        self._written: deque[float] = deque(maxlen=LIMIT)

    def entries(self, changes: Iterable[Change]) -> list[Log]:
        """Return what is to be written of some changes; the rest is in the Airflow scheduler's log."""
        return [self._entry(change) for change in changes if self._has_room(change)]

    def _has_room(self, change: Change) -> bool:
        if change.event in (LANE_MOVED, LANE_LOST):
            return True
        now = self._clock()
        if len(self._written) == LIMIT and now - self._written[0] < WINDOW:
            log.warning("Not written into the audit log, which has %d of its kind already: %s", LIMIT, change)
            return False
        self._written.append(now)
        return True

    def _entry(self, change: Change) -> Any:
        from airflow.models.log import Log

        about = {name: value for name, value in change.about.items() if value is not None}
        return Log(event=change.event, owner=self._owner, extra=json.dumps(about))
