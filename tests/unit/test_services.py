"""The charts of cluster services: named, pinned, and with values that are what they should be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from airflow_eks_dask.services import HEADLAMP, PROMETHEUS, SERVICES


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_what_is_installed_is_what_was_chosen(service):
    assert re.fullmatch(r"\d+\.\d+\.\d+", service.version), "a range would install something else next year"
    assert service.repository.startswith("https://")
    assert SERVICES[service.name] is service
    assert yaml.safe_load(yaml.safe_dump(service.values)) == service.values


def test_the_page_names_them():
    page = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
    (table,) = re.findall(r"<!-- services: begin -->\n(.*)<!-- services: end -->", page, re.S)
    rows = [tuple(cell.strip(" `") for cell in line.strip("|").split("|"))[:4] for line in table.splitlines()[2:]]
    assert rows == [(each.name, each.chart, each.version, each.repository) for each in SERVICES.values()]


def test_headlamp_is_no_administrator():
    assert HEADLAMP.values["clusterRoleBinding"] == {"create": False}


@pytest.mark.parametrize(
    ("name", "port", "scraped"),
    [
        ("pipeline", "http-dashboard", True),
        ("pipeline", "http-worker", True),
        ("pipeline", "tcp-dask", False),
        ("pipeline", "http-api", False),
        ("other", "http-worker", False),
    ],
)
def test_prometheus_asks_dask(name, port, scraped):
    (job,) = yaml.safe_load(PROMETHEUS.values["extraScrapeConfigs"])
    keep = job["relabel_configs"][0]
    assert keep["action"] == "keep"
    assert bool(re.fullmatch(keep["regex"], f"{name};{port}")) is scraped
