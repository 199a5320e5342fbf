"""
What Airflow mounts in its API server and shows in its menu.

Every Airflow process loads plugins, so nothing of the page is imported before somebody opens it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

URL_PREFIX = "/eks-dask"


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request, as ASGI applications do."""
    from airflow_eks_dask.ui.app import application

    await application()(scope, receive, send)


class EksDaskPlugin(AirflowPlugin):
    """Adds the page "Dask cluster" to Airflow's menu, under Browse."""

    name = "eks_dask"
    fastapi_apps = [{"app": page, "url_prefix": URL_PREFIX, "name": "EKS and Dask"}]  # noqa: RUF012 - Airflow's own form
    external_views = [  # noqa: RUF012
        {
            "name": "Dask cluster",
            # Airflow may be served below a path.
            "href": f"{urlsplit(conf.get('api', 'base_url', fallback='')).path.rstrip('/')}{URL_PREFIX}/",
            "destination": "nav",
            "category": "browse",
            "url_route": "dask-cluster",
        }
    ]
