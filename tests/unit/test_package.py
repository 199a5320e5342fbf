"""What users and Airflow see of the package before it does anything."""

from __future__ import annotations

import configparser
import importlib
import json
import subprocess
import sys
from pathlib import Path

import airflow
import jsonschema
import pytest

import airflow_eks_dask


def run(*arguments: str, **environment: str) -> str:
    import os

    done = subprocess.run(
        [sys.executable, *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    return done.stdout


def test_importing_the_package_is_cheap():
    heavy = "airflow", "distributed", "dask", "boto3", "pandas"
    code = f"import airflow_eks_dask, sys; print([name for name in {heavy!r} if name in sys.modules])"
    assert run("-c", code).strip() == "[]"


def test_public_names_resolve():
    from airflow.executors.base_executor import BaseExecutor

    assert issubclass(airflow_eks_dask.DaskExecutor, BaseExecutor)
    assert callable(airflow_eks_dask.get_client)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = airflow_eks_dask.nonsense


def test_provider_info_is_valid():
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(airflow_eks_dask.get_provider_info(), schema)


PACKAGE = Path(airflow_eks_dask.__file__).parent


def test_every_operator_sensor_hook_and_link_is_announced():
    info = airflow_eks_dask.get_provider_info()
    for kind in ("operators", "hooks", "sensors", "triggers"):
        announced = {module for each in info[kind] for module in each["python-modules"]}
        there = {f"airflow_eks_dask.{kind}.{file.stem}" for file in (PACKAGE / kind).glob("[a-z]*.py")}
        assert announced == there - {"airflow_eks_dask.operators.resource"}
    for name in info["extra-links"]:
        module, _, link = name.rpartition(".")
        assert hasattr(importlib.import_module(module), link)


def test_every_package_is_installed():
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg")
    there = {".".join(file.parent.relative_to(PACKAGE.parent).parts) for file in PACKAGE.rglob("__init__.py")}
    assert set(setup["options"]["packages"].split()) == there | {"airflow_eks_dask.dags"}


def test_every_option_is_described():
    options = airflow_eks_dask.get_provider_info()["config"]["dask"]["options"]
    for name, option in options.items():
        assert option["description"], name
        assert option["version_added"], name
        assert option["type"] in ("string", "integer", "float", "boolean"), name
        assert option["default"] is not None, name


def test_airflow_lists_provider_and_options(tmp_path):
    home = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    assert "airflow-eks-dask" in run("-m", "airflow", "providers", "list", **home)
    listed = run("-m", "airflow", "config", "list", "--section", "dask", **home)
    for name in airflow_eks_dask.get_provider_info()["config"]["dask"]["options"]:
        assert f"{name} = " in listed
