"""Ends a set of processes when the process that started them is gone. Run as a program by ``ProcessSet``."""

from __future__ import annotations

import shutil
import signal
import sys

GRACE = 5.0


def main(marker: str, directories: list[str]) -> None:
    """
    Read ``<process id> <signal>`` lines until the other end of standard input is closed, then end those processes.

    Signal 0 means that the process ended and is to be forgotten.

    :param marker: What the environment of those processes carries.
    :param directories: Directories to remove after that.
    """
    leaders: dict[int, signal.Signals] = {}
    for line in sys.stdin:
        pid, number = map(int, line.split())
        if number:
            leaders[pid] = signal.Signals(number)
        else:
            leaders.pop(pid, None)

    # Imported only now: while there is nothing to do, the guard stays small.
    from airflow_eks_dask.local.processes import end_all

    end_all(marker, leaders, GRACE)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
