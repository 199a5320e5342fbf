"""Operators for the database: the instance, the subnets it may be in, and who may reach it."""

from __future__ import annotations

from airflow_eks_dask.operators.resource import DeleteOperator, EnsureOperator
from airflow_eks_dask.resources.database import Database
from airflow_eks_dask.resources.database_subnet_group import DatabaseSubnetGroup
from airflow_eks_dask.resources.security_group import SecurityGroup


class EnsureSecurityGroupOperator(EnsureOperator):
    """
    Have a security group with exactly the wanted rules.

    Returns ``security_group_id``, ``security_group_name`` and ``vpc_id``.

    .. code-block:: python

        EnsureSecurityGroupOperator(
            task_id="database_access",
            cluster_name="pipelines",
            group_name="pipelines-database",
            vpc_id="vpc-0123456789abcdef0",
            ingress=[{"source": "sg-0123456789abcdef0", "port": 5432}],
        )
    """

    resource_class = SecurityGroup


class DeleteSecurityGroupOperator(DeleteOperator):
    """
    Delete a security group that was made for the cluster; any other is refused.

    It waits two minutes for what still uses the group to go.

    .. code-block:: python

        DeleteSecurityGroupOperator(
            task_id="delete_database_access", cluster_name="pipelines", group_name="pipelines-database"
        )
    """

    resource_class = SecurityGroup


class EnsureDatabaseSubnetGroupOperator(EnsureOperator):
    """
    Have a DB subnet group of exactly the wanted subnets. Returns ``subnet_group_name`` and ``vpc_id``.

    .. code-block:: python

        EnsureDatabaseSubnetGroupOperator(
            task_id="database_subnets",
            cluster_name="pipelines",
            group_name="pipelines",
            subnet_ids=["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        )
    """

    resource_class = DatabaseSubnetGroup


class DeleteDatabaseSubnetGroupOperator(DeleteOperator):
    """
    Delete a DB subnet group that was made for the cluster; any other is refused.

    .. code-block:: python

        DeleteDatabaseSubnetGroupOperator(
            task_id="delete_database_subnets", cluster_name="pipelines", group_name="pipelines"
        )
    """

    resource_class = DatabaseSubnetGroup


class EnsureDatabaseOperator(EnsureOperator):
    """
    Have a PostgreSQL database on RDS, and wait until it is available.

    Returns ``database_identifier``, ``database_arn``, ``host``, ``port``, ``database_name``, ``username``,
    ``master_user_secret_arn`` (the secret in Secrets Manager that has the password), ``engine_version`` and
    ``security_group_ids``.

    .. code-block:: python

        EnsureDatabaseOperator(
            task_id="database",
            cluster_name="pipelines",
            database_identifier="pipelines",
            subnet_group_name="pipelines",
            security_group_ids=["sg-0123456789abcdef0"],
            engine_version="17",
            instance_class="db.t4g.medium",
            deferrable=True,
        )
    """

    resource_class = Database


class DeleteDatabaseOperator(DeleteOperator):
    """
    Delete a database that was made for the cluster, if ``keep`` is False; any other is refused.

    Unless ``final_snapshot`` is False, its data outlives it in a snapshot; the result says in which.

    .. code-block:: python

        DeleteDatabaseOperator(
            task_id="delete_database",
            cluster_name="pipelines",
            database_identifier="pipelines",
            keep=False,
            deferrable=True,
        )
    """

    resource_class = Database
