"""The executor sent to a Dask cluster and taken home again by tasks."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_eks_dask.operators.dask_endpoint import PublishDaskEndpointOperator, WithdrawDaskEndpointOperator

PARAMS = {
    "cluster": Param("pipelines", type="string"),
    "address": Param("", type="string"),
    "tls": Param("", type="string"),
}
WHERE = {
    "cluster_name": "{{ params.cluster }}",
    "address": "{{ params.address }}",
    "tls_ca": "{{ params.tls }}/ca.pem",
    "tls_cert": "{{ params.tls }}/client.pem",
    "tls_key": "{{ params.tls }}/client-key.pem",
}

with DAG("publish", schedule=None, params=PARAMS):
    PublishDaskEndpointOperator(task_id="publish", **WHERE, timeout=120, queue="local")

with DAG("publish_in_vain", schedule=None, params=PARAMS):
    PublishDaskEndpointOperator(task_id="publish_in_vain", **WHERE, timeout=3, queue="local")

with DAG("withdraw", schedule=None, params=PARAMS):
    WithdrawDaskEndpointOperator(task_id="withdraw", cluster_name="{{ params.cluster }}", queue="local")
