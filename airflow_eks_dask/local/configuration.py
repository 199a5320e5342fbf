"""The configuration and environment of an Airflow that lives in one directory, as pure functions."""

from __future__ import annotations

import configparser
import io
import json
import secrets
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Settings = dict[str, dict[str, str]]


def base_settings(
    home: Path, *, database_url: str, port: int, executor: str, dag_bundles: Sequence[Mapping[str, Any]]
) -> Settings:
    """
    Return the configuration, section by section, of an Airflow of its own on this machine, with fresh secrets.

    :param home: The directory it lives in (``AIRFLOW_HOME``).
    :param database_url: SQLAlchemy's address of an existing, empty database.
    :param port: TCP port of the API server.
    :param executor: Import path or short name of the executor.
    :param dag_bundles: Entries of ``[dag_processor] dag_bundle_config_list``; none: the directory ``dags`` in ``home``.
    """
    address = f"http://127.0.0.1:{port}"
    settings = {
        "core": {
            "executor": executor,
            "execution_api_server_url": f"{address}/execution/",
            "fernet_key": Fernet.generate_key().decode(),
            # No login: it is one person's, on the loopback device.
            "simple_auth_manager_all_admins": "True",
            "simple_auth_manager_passwords_file": str(home / "passwords.json"),
            "load_examples": "False",
            "dags_folder": str(home / "dags"),
            "plugins_folder": str(home / "plugins"),
            "dags_are_paused_at_creation": "False",
            # The default asks the name service, which may be slow or absent.
            "hostname_callable": "socket.gethostname",
        },
        "database": {
            "sql_alchemy_conn": database_url,
            # Whoever starts it sets up the tables, and the API server starts while that goes on.
            "check_migrations": "False",
        },
        "api": {
            "host": "127.0.0.1",
            "port": str(port),
            "base_url": address,
            "workers": "1",
            "secret_key": secrets.token_urlsafe(32),
        },
        "api_auth": {"jwt_secret": secrets.token_urlsafe(64)},
        "logging": {"base_log_folder": str(home / "logs")},
        # A task waits this long for each of its predecessors' ends to be noticed.
        "scheduler": {"scheduler_idle_sleep_time": "0.2"},
        "dag_processor": {
            # The default is shared by all of this machine's Airflows.
            "dag_bundle_storage_path": str(home / "dag_bundles"),
            "parsing_processes": "1",
        },
    }
    if dag_bundles:
        settings["dag_processor"]["dag_bundle_config_list"] = json.dumps([dict(bundle) for bundle in dag_bundles])
    return settings


def merged(settings: Settings, changes: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Return settings with some options changed or added."""
    result = {section: dict(options) for section, options in settings.items()}
    for section, options in changes.items():
        result.setdefault(section, {}).update({option: str(value) for option, value in options.items()})
    return result


def as_config_file(settings: Settings) -> str:
    """Return settings as the text of an ``airflow.cfg``."""
    parser = configparser.RawConfigParser()
    for section, options in settings.items():
        # Airflow reads the file with interpolation, to which a percent sign is special.
        parser[section] = {option: value.replace("%", "%%") for option, value in options.items()}
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def environment(home: Path, inherited: Mapping[str, str], additions: Mapping[str, str]) -> dict[str, str]:
    """
    Return the environment of Airflow's processes.

    :param home: The directory it lives in (``AIRFLOW_HOME``).
    :param inherited: The caller's environment. What configures the caller's Airflow is left out.
    :param additions: Further variables, for example ``AIRFLOW_CONN_...``.
    """
    kept = {name: value for name, value in inherited.items() if not name.startswith(("AIRFLOW_", "_AIRFLOW_"))}
    return {
        **kept,
        "AIRFLOW_HOME": str(home),
        # Log files are read while they are written.
        "PYTHONUNBUFFERED": "1",
        # Keeps setproctitle from overwriting the environment by which left-over processes are recognised.
        "SPT_NOENV": "1",
        # The default is shared by all of this machine's Dask workers.
        "DASK_TEMPORARY_DIRECTORY": str(home / "dask"),
        **additions,
    }
