"""A task that says something, and goes on when it is told to."""

from __future__ import annotations

import socket

from airflow.sdk import Param, dag, get_current_context, task


@task
def talk() -> None:
    """Say something, wait for a word from the address in the params, and say that."""
    print("this is said while the task runs", flush=True)
    host, port = get_current_context()["params"]["listener"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as connection, connection.makefile() as words:
        connection.settimeout(600)
        word = words.readline().strip()
    print(f"this is said at the end: {word}", flush=True)


@dag(dag_id="talk", schedule=None, params={"listener": Param("", type="string")})
def conversation() -> None:
    """Talk."""
    talk()


conversation()
