"""Helm, for tests of the chart."""

from __future__ import annotations

import pytest

from tests.chart.rendering import VALUES, Chart, find_helm


@pytest.fixture(scope="session")
def chart(tmp_path_factory):
    helm = find_helm()
    assert helm
    return Chart(helm, tmp_path_factory.mktemp("values"))


@pytest.fixture(scope="session", params=VALUES)
def values(request):
    return VALUES[request.param]


@pytest.fixture(scope="session")
def rendered(chart, values):
    """What is rendered from each of the sets of values."""
    return chart.render(values)
