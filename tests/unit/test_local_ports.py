from __future__ import annotations

import socket
from pathlib import Path

import pytest

from airflow_eks_dask.local import ports
from airflow_eks_dask.local.ports import NoFreePortError, ReservedPort, free_port

pytestmark = pytest.mark.any_airflow


@pytest.mark.parametrize("choose", [free_port, lambda preferred: ReservedPort(preferred).number])
def test_a_busy_port_is_chosen_around(choose):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        busy = listener.getsockname()[1]
        chosen = choose(busy)
    assert chosen != busy
    assert 1024 <= chosen <= 65535


def test_a_free_port_is_taken_as_asked():
    wanted = free_port()
    assert free_port(wanted) == wanted


def test_a_chosen_port_is_none_that_the_kernel_gives_to_outgoing_connections():
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not any(first <= free_port() <= last for _ in range(50))


def test_a_reserved_port_is_chosen_around_before_its_server_has_started():
    first = ReservedPort()
    second = ReservedPort(first.number)
    try:
        assert second.number != first.number
    finally:
        first.close()
        second.close()


def test_a_reservation_does_not_stop_the_server_it_is_for():
    reserved = ReservedPort()
    with socket.create_server(("127.0.0.1", reserved.number)):
        pass
    reserved.close()


def test_a_port_given_back_can_be_reserved_again():
    first = ReservedPort()
    first.close()
    second = ReservedPort(first.number)
    second.close()
    assert second.number == first.number


def test_no_port_is_left(monkeypatch):
    held = ReservedPort()
    monkeypatch.setattr(ports, "free_port", lambda preferred: held.number)
    with pytest.raises(NoFreePortError, match="No TCP port"):
        ReservedPort()
    held.close()
