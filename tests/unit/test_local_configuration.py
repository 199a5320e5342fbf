from __future__ import annotations

import configparser
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from airflow_eks_dask.local import configuration
from airflow_eks_dask.local.airflow import COMPONENTS, LocalAirflow, unhealthy
from airflow_eks_dask.local.processes import LocalProcessError

URL = "postgresql+psycopg2://airflow:se%40cret@127.0.0.1:5432/airflow"
HOME = Path("/somewhere/home")


def base(**changes):
    arguments = {"database_url": URL, "port": 8080, "executor": "LocalExecutor", "dag_bundles": []}
    return configuration.base_settings(HOME, **{**arguments, **changes})


def test_all_addresses_are_those_of_the_api_server_on_loopback():
    settings = base(port=12345)
    assert settings["api"]["host"] == "127.0.0.1"
    assert settings["api"]["port"] == "12345"
    assert settings["api"]["base_url"] == "http://127.0.0.1:12345"
    assert settings["core"]["execution_api_server_url"] == "http://127.0.0.1:12345/execution/"


def test_secrets_differ_from_one_airflow_to_the_next():
    one, other = base(), base()
    for section, option in (("core", "fernet_key"), ("api", "secret_key"), ("api_auth", "jwt_secret")):
        assert one[section][option] != other[section][option]


def test_bundles_become_json():
    bundle = {"name": "mine", "classpath": "a.B", "kwargs": {"path": "/x"}}
    assert json.loads(base(dag_bundles=[bundle])["dag_processor"]["dag_bundle_config_list"]) == [bundle]
    assert "dag_bundle_config_list" not in base()["dag_processor"]


def test_changes_are_merged_and_leave_the_original_alone():
    settings = base()
    changed = configuration.merged(settings, {"core": {"parallelism": 4}, "dask": {"embedded_workers": 2}})
    assert changed["core"]["parallelism"] == "4"
    assert changed["core"]["executor"] == "LocalExecutor"
    assert changed["dask"] == {"embedded_workers": "2"}
    assert "parallelism" not in settings["core"]
    assert "dask" not in settings


def test_the_file_is_read_back_as_airflow_does_with_interpolation():
    parser = configparser.ConfigParser()
    parser.read_string(configuration.as_config_file(base()))
    assert parser["database"]["sql_alchemy_conn"] == URL


def test_the_callers_airflow_does_not_shine_through():
    inherited = {
        "PATH": "/bin",
        "AIRFLOW_HOME": "/callers/home",
        "AIRFLOW_CONFIG": "/callers/airflow.cfg",
        "AIRFLOW__CORE__EXECUTOR": "KubernetesExecutor",
        "AIRFLOW_CONN_SAMPLE_RESULTS": "sqlite:///callers.db",
        "AIRFLOW_VAR_X": "1",
    }
    result = configuration.environment(HOME, inherited, {"AIRFLOW_CONN_MINE": "sqlite://"})
    airflows = {name: value for name, value in result.items() if name.startswith("AIRFLOW")}
    assert airflows == {"AIRFLOW_HOME": str(HOME), "AIRFLOW_CONN_MINE": "sqlite://"}
    assert result["PATH"] == "/bin"


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """A LocalAirflow whose processes are recorded instead of started."""
    recorded = []

    def start(self, name, command, *, log_file, env, **options):
        recorded.append((name, list(command), dict(env)))
        raise LocalProcessError("not in this test")

    monkeypatch.setattr("airflow_eks_dask.local.processes.ProcessSet.start", start)
    airflow = LocalAirflow(tmp_path / "home", URL, environment={"AIRFLOW_CONN_X": "postgresql://u:hush@h/d"})
    airflow.prepare()
    for name in COMPONENTS:
        with pytest.raises(LocalProcessError):
            airflow.start_component(name)
    with pytest.raises(LocalProcessError):
        airflow.migrate()
    return airflow, recorded


def test_no_command_line_holds_a_secret(commands):
    airflow, recorded = commands
    settings = airflow.settings
    secrets = [
        "hush",
        URL,
        settings["core"]["fernet_key"],
        settings["api"]["secret_key"],
        settings["api_auth"]["jwt_secret"],
    ]
    assert [name for name, _, _ in recorded] == [*COMPONENTS, "migrate"]
    for _, command, _ in recorded:
        assert not any(secret in word for secret in secrets for word in command)


def test_the_configuration_is_for_its_owner_only(tmp_path):
    (tmp_path / "airflow.cfg").touch(mode=0o644)
    LocalAirflow(tmp_path, URL).prepare()
    assert (tmp_path / "airflow.cfg").stat().st_mode & 0o777 == 0o600


NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def health(scheduler="healthy", heartbeat=NOW):
    return {
        "metadatabase": {"status": "healthy"},
        "scheduler": {
            "status": scheduler,
            "latest_scheduler_heartbeat": heartbeat.isoformat() if heartbeat else None,
        },
        "dag_processor": {"status": None, "latest_dag_processor_heartbeat": None},
    }


@pytest.mark.parametrize(
    ("answer", "since", "expected"),
    [
        (health(), None, []),
        (health(), NOW, []),
        (health(), NOW + timedelta(seconds=1), ["scheduler"]),
        (health(scheduler="unhealthy"), None, ["scheduler"]),
        (health(heartbeat=None), None, ["scheduler"]),
    ],
)
def test_a_component_is_healthy_if_its_heartbeat_is_its_own(answer, since, expected):
    assert unhealthy(answer, ["api-server", "scheduler"], since) == expected


def test_a_component_that_never_reported_is_not_healthy():
    assert unhealthy(health(), ["dag-processor"], None) == ["dag-processor"]
