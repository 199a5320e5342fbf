"""The simulated AWS, and operators that run against it without Airflow."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Variable
from botocore.loaders import JSONFileLoader, Loader

from airflow_eks_dask.hooks.airflow_api import ApiTarget
from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.operators.resource import PLAN_KEY
from tests.airflow_api import Api
from tests.aws.answers import forget_answers
from tests.aws.bootstrap import bootstrap, teardown
from tests.aws.simulation import Simulation
from tests.http_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import BaseOperator


@pytest.fixture(scope="session")
def _running_simulation() -> Iterator[Simulation]:
    with Simulation.started() as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def _models_are_read_once() -> Iterator[None]:
    """Every session of botocore reads its models of services anew: most of the time of a test."""
    with pytest.MonkeyPatch.context() as patch:
        load_file = JSONFileLoader.load_file
        read = cache(lambda path: load_file(JSONFileLoader(), path))
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: read(path))
        list_services = Loader.list_available_services
        known = cache(lambda kind: list_services(Loader(), kind))
        patch.setattr(Loader, "list_available_services", lambda _, type_name: known(type_name))
        yield


@pytest.fixture
def simulation(_running_simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """An empty AWS account; Airflow's connection ``aws_default`` leads to it."""
    _running_simulation.reset()
    for name, value in _running_simulation.environment.items():
        monkeypatch.setenv(name, value)
    # At once, as the tests wait for nothing: what is tested is that it is tried again.
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.001)
    return _running_simulation


@cache
def clients(connection: str) -> AwsClients:
    """Return the clients of one connection, for all tests: they take longer to make than most tests."""
    return AwsClients()


def shared_clients() -> AwsClients:
    return clients(os.environ["AIRFLOW_CONN_AWS_DEFAULT"])


@pytest.fixture
def aws(simulation: Simulation) -> Iterator[AwsClients]:
    yield shared_clients()
    forget_answers(shared_clients())


class Converge:
    """
    Runs operators as Airflow does, in this process and without deferral.

    ``plans``: what the last of them said it would do.
    """

    def __init__(self) -> None:
        self.plans: list[dict[str, Any]] = []

    def __call__(self, operator: BaseOperator, **context: Any) -> Any:
        self.plans = []
        operator.deferrable = False
        operator.poll_interval = 0.01
        operator.aws = shared_clients()
        return operator.execute({"ti": self, "task_instance": self, "task": operator, **context})

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        """Take what the operator leaves for others."""
        if key == PLAN_KEY:
            self.plans.append(value)

    @property
    def actions(self) -> list[str]:
        """What was done, such as ``["create", "change", "leave"]``."""
        return [plan["action"] for plan in self.plans]


@pytest.fixture
def converge(aws: AwsClients) -> Converge:
    return Converge()


@pytest.fixture
def api(monkeypatch):
    """Airflow's REST API, with one run that is under way."""
    api = Api()
    api.runs = [{"dag_id": "eks_dask_bootstrap", "dag_run_id": "manual", "state": "running", "conf": {}}]
    target = ApiTarget(api.url, "ada", "lovelace", source="connection 'airflow_api'")
    for module in ("preflight", "notes", "runs"):
        monkeypatch.setattr(f"airflow_eks_dask.bootstrap.{module}.find_api", lambda _: target)
    with serving(api.server):
        yield api


@pytest.fixture
def variables(monkeypatch):
    """Airflow's variables, by key."""
    kept = {}
    monkeypatch.setattr(Variable, "set", lambda key, value, *_, **__: kept.update({key: value}))
    monkeypatch.setattr(Variable, "get", lambda key, **_: kept.get(key))
    monkeypatch.setattr(Variable, "delete", kept.pop)
    return kept


@pytest.fixture
def start(simulation, aws, api, variables):
    return lambda **form: bootstrap(aws, **form)


@pytest.fixture
def remove(simulation, aws, api, variables):
    api.runs.append({"dag_id": "eks_dask_teardown", "dag_run_id": "manual", "state": "running", "conf": {}})
    return lambda **form: teardown(aws, **form)
