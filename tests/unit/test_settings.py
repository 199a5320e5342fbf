"""The [dask] section: what is refused, and with which words."""

from __future__ import annotations

import pytest
from airflow.exceptions import AirflowConfigException

from airflow_eks_dask.executors.settings import DaskSettings
from airflow_eks_dask.provider_info import OPTIONS


class Options:
    """Airflow's configuration with the defaults of the provider and some changes."""

    def __init__(self, **changes: str) -> None:
        self.values = {name: option["default"] for name, option in OPTIONS.items()} | changes

    def get(self, section: str, option: str) -> str | None:
        return self.values[option] if section == "dask" else "default"


@pytest.fixture
def tls_files(tmp_path):
    files = {name: tmp_path / f"{name}.pem" for name in ("tls_ca", "tls_cert", "tls_key")}
    for file in files.values():
        file.touch()
    return {name: str(file) for name, file in files.items()}


def test_the_defaults_are_an_embedded_cluster():
    settings = DaskSettings.from_configuration(Options())
    assert settings.endpoint is None
    assert settings.lanes == {}


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "tcp://localhost:8786", "tcp://[::1]:8786"])
def test_loopback_needs_no_tls(address):
    assert DaskSettings.from_configuration(Options(cluster_address=address)).endpoint.address == address


def test_beyond_this_machine_tls_is_required():
    with pytest.raises(AirflowConfigException, match="beyond this machine and without TLS"):
        DaskSettings.from_configuration(Options(cluster_address="tcp://10.0.0.1:8786"))
    DaskSettings.from_configuration(Options(cluster_address="tcp://10.0.0.1:8786", allow_insecure="True"))


def test_tls_files_reach_distributed(tls_files):
    settings = DaskSettings.from_configuration(Options(cluster_address="tls://dask.example.com:8786", **tls_files))
    security = settings.endpoint.security()
    assert security.tls_ca_file == tls_files["tls_ca"]
    assert security.tls_client_cert == tls_files["tls_cert"]
    assert security.require_encryption


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cluster_address": "dask.example.com"}, "must look like"),
        ({"cluster_address": "http://127.0.0.1:8786"}, "must look like"),
        ({"cluster_address": "tcp://127.0.0.1:port"}, "must look like"),
        ({"cluster_address": "tls://127.0.0.1:8786"}, "needs tls_ca, tls_cert, tls_key"),
        ({"tls_ca": "/no/such/file"}, "tls_ca = '/no/such/file': no such file"),
        ({"slots_per_worker": "-1"}, "slots_per_worker = '-1': must be a whole number of at least 0"),
        ({"slots_per_worker": "many"}, "slots_per_worker = 'many'"),
        ({"embedded_workers": "0"}, "at least 1"),
        ({"preload_modules": "pandas, rm -rf"}, "'-rf' is not the name of a module"),
        ({"lanes": "gpu"}, "lanes: 'gpu' must look like name=connection_id"),
        ({"lanes": "gpu=dask_gpu, gpu=other"}, "there is a lane 'gpu' already"),
        ({"lanes": "local=dask_other"}, "there is a lane 'local' already"),
        ({"connect_timeout": "nan"}, "connect_timeout = 'nan'"),
        ({"connect_timeout": "0"}, "connect_timeout"),
        ({"allow_insecure": "perhaps"}, "must be True or False"),
    ],
)
def test_what_cannot_work_is_refused(changes, words):
    with pytest.raises(AirflowConfigException) as refusal:
        DaskSettings.from_configuration(Options(**changes))
    assert words in str(refusal.value)


def test_lanes():
    settings = DaskSettings.from_configuration(Options(lanes="gpu=dask_gpu, eu-1=dask_eu"))
    assert settings.lanes == {"gpu": "dask_gpu", "eu-1": "dask_eu"}


def test_tls_files_without_tls_are_refused(tls_files):
    with pytest.raises(AirflowConfigException, match="is not TLS"):
        DaskSettings.from_configuration(Options(cluster_address="tcp://127.0.0.1:8786", **tls_files))


def test_all_problems_are_told_at_once():
    with pytest.raises(AirflowConfigException) as refusal:
        DaskSettings.from_configuration(Options(embedded_workers="none", connect_timeout="-1", cluster_address="x"))
    for option in ("embedded_workers", "connect_timeout", "cluster_address"):
        assert option in str(refusal.value)
