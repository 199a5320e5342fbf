"""TCP ports of this machine for servers that are about to start."""

from __future__ import annotations

import contextlib
import random
import socket

ATTEMPTS = 200
# The kernel gives any port from its ephemeral range (from 32768 on Linux, ip(7)) to whoever connects to anything, also
# in the seconds before a server opens the port that was chosen for it. From 30000 on Kubernetes has its node ports.
PORTS = range(20000, 30000)


class NoFreePortError(RuntimeError):
    """All ports are in use."""

    def __init__(self) -> None:
        super().__init__(
            f"No TCP port of 127.0.0.1 from {PORTS.start} to {PORTS.stop - 1} was found free. "
            "End some of the programs that hold them."
        )


def free_port(preferred: int = 0) -> int:
    """
    Return a TCP port of 127.0.0.1 that nobody listens on at the moment, and that no outgoing connection will take.

    :param preferred: Port to return if it is free. 0: any.
    :raises NoFreePortError: if there is none.
    """
    # The choice keeps programs apart that look for a port at the same time; nothing secret hangs on it.
    candidates = random.SystemRandom().sample(PORTS, ATTEMPTS)
    for port in ([preferred] if preferred else []) + candidates:
        with socket.socket() as listener:
            # As servers do: without it a port that was in use a moment ago looks busy for a minute.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                return port
    raise NoFreePortError


class ReservedPort:
    """
    A TCP port that is free and that no other ``ReservedPort`` of this machine has, until it is closed.

    For servers that open their port only seconds after it was chosen. The sign of the reservation is that the UDP
    port of the same number is held: the kernel frees it however this process ends.

    :param preferred: Port to take if it is free. 0: any.
    :raises NoFreePortError: if there is none.
    """

    def __init__(self, preferred: int = 0) -> None:
        for attempt in range(ATTEMPTS):
            port = free_port(0 if attempt else preferred)
            self._sign = socket.socket(type=socket.SOCK_DGRAM)
            try:
                self._sign.bind(("127.0.0.1", port))
            except OSError:
                # Somebody else's reservation, or a UDP server: another port will do.
                self._sign.close()
                continue
            self.number = port
            return
        raise NoFreePortError

    def close(self) -> None:
        """Give the port back."""
        self._sign.close()
