"""The thread that keeps a connection to a Dask cluster."""

from __future__ import annotations

import asyncio

import pytest
from airflow.configuration import conf

from airflow_eks_dask.executors import cluster_link
from airflow_eks_dask.executors.cluster_link import ClusterLink
from airflow_eks_dask.executors.settings import DaskSettings

pytestmark = pytest.mark.any_airflow


class LosesOneCancel(ClusterLink):
    """Has an answer come at the same moment as the end, which ``asyncio.wait_for`` of Python 3.11 takes for no end."""

    async def _keep_connected(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()


def test_it_lets_go_even_if_the_first_cancel_is_lost(monkeypatch):
    monkeypatch.setattr(cluster_link, "CANCEL_INTERVAL", 0.01)
    link = LosesOneCancel(None, DaskSettings.from_configuration(conf))
    link.start()
    link.stop(timeout=10)
    assert not link._thread.is_alive()
