"""Helm, for tests of the chart."""

from __future__ import annotations

import pytest

from airflow_eks_dask.helm.binary import find_helm
from airflow_eks_dask.helm.errors import HelmError
from airflow_eks_dask.helm.install import install
from tests.chart.rendering import VALUES, Chart


@pytest.fixture(scope="session")
def helm():
    """The program; what `airflow eks-dask install-helm` puts in place, if there is none."""
    try:
        return find_helm()
    except HelmError:
        install()
        return find_helm()


@pytest.fixture(scope="session")
def chart(helm, tmp_path_factory):
    return Chart(helm, tmp_path_factory.mktemp("values"))


@pytest.fixture(scope="session", params=VALUES)
def values(request):
    return VALUES[request.param]


@pytest.fixture(scope="session")
def rendered(chart, values):
    """What is rendered from each of the sets of values."""
    return chart.render(values)
