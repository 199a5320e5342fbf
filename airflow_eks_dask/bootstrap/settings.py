"""What a form means: names and addresses that follow from it, and what is wrong with it."""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from cryptography import x509

import airflow_eks_dask
from airflow_eks_dask.bootstrap.form import bootstrap_form
from airflow_eks_dask.resources import validation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from airflow_eks_dask.hooks.aws import AwsClients

REPOSITORY = "airflow-eks-dask"
"""Of the image, in the account's registry."""

RELEASE = "pipeline"
"""The Helm release of scheduler and workers."""

_LISTS = ("admins", "public_access_cidrs", "private_subnet_ids", "dask_source_ranges")
_EMPTY: dict[str, Any] = {"tags": {}, "helm_values": {}, **{name: [] for name in _LISTS}}
"""What a field means that the form leaves without a value, unless it is of text."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    A form that was filled in, and where: region and account are those of the credentials.

    The fields are those of :func:`.bootstrap_form`. There is no secret among them.

    :param account_id: The AWS account.
    :param partition: Such as ``aws``.
    """

    account_id: str
    partition: str
    region_name: str
    plan_only: bool
    cluster_name: str
    aws_conn_id: str
    airflow_api_conn_id: str
    kubernetes_version: str
    public_access_cidrs: list[str]
    admins: list[str]
    tags: dict[str, str]
    vpc_id: str
    private_subnet_ids: list[str]
    cidr: str
    zones: int
    nat_gateways: str
    instance_types: list[str]
    capacity_type: str
    min_nodes: int
    max_nodes: int
    disk_size: int
    workers: int
    slots: int
    threads: int
    worker_memory: str
    image_repository: str
    image_tag: str
    helm_values: dict[str, Any]
    execution_api_url: str
    execution_api_ca: str
    dask_source_ranges: list[str]
    connection_id: str
    namespace: str
    database: str
    database_identifier: str
    database_class: str
    database_storage: int
    multi_az: bool
    bucket: bool
    dashboard: bool
    metrics: bool
    charts_repository: str

    @classmethod
    def read(cls, form: Mapping[str, Any], aws: AwsClients) -> Self:
        """
        Return what a form means for an account; what is left empty is filled in.

        :param form: All fields.
        :raises ValueError: Nothing says which region.
        """
        given: dict[str, Any] = {
            each.name: _EMPTY.get(each.name, "") if form[each.name] is None else form[each.name]
            for each in fields(cls)
            if each.name in form
        }
        given |= {"account_id": aws.account_id, "partition": aws.partition, "region_name": aws.region}
        given["image_repository"] = given["image_repository"] or _registry(aws)
        given["image_tag"] = given["image_tag"] or airflow_eks_dask.__version__
        given["execution_api_url"] = given["execution_api_url"] or own_execution_api()
        if given["database"] == "new":
            given["database_identifier"] = given["cluster_name"]
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data, for :meth:`from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """
        Return the settings of this data.

        What a later version of the package has added is missing in older data: it is as the form has it at first.
        """
        names = {each.name for each in fields(cls)}
        known = {**{name: param.value for name, param in bootstrap_form().items()}, **data}
        return cls(**{name: value for name, value in known.items() if name in names})

    def role_name(self, role: str) -> str:
        """Return what the role for something is called. Roles are in no region, so that it is in the name."""
        return f"{self.cluster_name}-{self.region_name}-{role}"

    @property
    def bucket_name(self) -> str:
        """What the bucket is called; the name has to be the only one in the world."""
        return f"{self.cluster_name}-{self.account_id}-{self.region_name}-data"[:63]

    @property
    def known_as(self) -> str:
        """What the cluster is called where there may be others of its name in other regions."""
        return f"{self.cluster_name} ({self.region_name})"

    @property
    def image(self) -> str:
        """The image that pods run."""
        return f"{self.image_repository}:{self.image_tag}"

    @property
    def worker_policy(self) -> dict[str, Any]:
        """What tasks in pods may do in AWS."""
        bucket = f"arn:{self.partition}:s3:::{self.bucket_name}"
        return {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket},
                {
                    "Effect": "Allow",
                    "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
                    "Resource": f"{bucket}/*",
                },
            ],
        }

    def problems(self) -> list[str]:
        """Return what each field alone does not show to be wrong, without asking anybody."""
        return [*self._network_problems(), *self._node_problems(), *self._data_problems(), *self._range_problems()]

    def way_problems(self) -> list[str]:
        """Return what keeps workers from reaching Airflow, without asking anybody."""
        url = self.execution_api_url
        host = urlsplit(url).hostname
        if not host:
            why = "neither [core] execution_api_server_url nor [api] base_url says how workers reach this Airflow"
            return [f"execution_api_url: is needed, as {why}"]
        if _is_this_machine(host):
            advice = "Give an address of Airflow's API server that they reach, or set [api] base_url to it"
            return [f"execution_api_url = {url!r}: workers on other machines can't reach that. {advice}"]
        return [f"execution_api_ca: {why}" for why in self._authority_problems()]

    def _authority_problems(self) -> list[str]:
        if not self.execution_api_ca:
            return []
        if not self.execution_api_url.startswith("https:"):
            return [f"is of no use with {self.execution_api_url}, which is not https"]
        try:
            x509.load_pem_x509_certificates(self.execution_api_ca.encode())
        except ValueError as error:
            return [f"is no certificate in PEM: {error}"]
        return []

    def _network_problems(self) -> list[str]:
        found = []
        if self.vpc_id and len(set(self.private_subnet_ids)) < 2:
            found.append("private_subnet_ids: an existing network needs two or more, in different zones")
        if self.private_subnet_ids and not self.vpc_id:
            found.append("vpc_id: is needed with private_subnet_ids")
        if not self.vpc_id:
            found += validation.vpc_network("cidr", self.cidr)
        return found

    def _node_problems(self) -> list[str]:
        if self.max_nodes < self.min_nodes:
            return [f"max_nodes = {self.max_nodes}: must be min_nodes = {self.min_nodes} or more"]
        return []

    def _data_problems(self) -> list[str]:
        if self.database == "existing" and not self.database_identifier:
            return ["database_identifier: is needed with an existing database"]
        return []

    def _range_problems(self) -> list[str]:
        names = ("dask_source_ranges", "public_access_cidrs")
        found = [
            problem for name in names for each in getattr(self, name) for problem in validation.network(name, each)
        ]
        return found + [
            f"dask_source_ranges: {each} is everybody; name the addresses of Airflow"
            for each in self.dask_source_ranges
            if each.endswith("/0")
        ]


def own_execution_api() -> str:
    """Return the URL of Airflow's execution API, as this Airflow says; empty if it says nothing."""
    url = conf.get("core", "execution_api_server_url", fallback="") or ""
    if not url and (base := (conf.get("api", "base_url", fallback="") or "").rstrip("/")):
        url = f"{base}/execution/"
    return url if url.startswith(("http://", "https://")) else ""


def _registry(aws: AwsClients) -> str:
    suffix = "amazonaws.com.cn" if aws.partition == "aws-cn" else "amazonaws.com"
    return f"{aws.account_id}.dkr.ecr.{aws.region}.{suffix}/{REPOSITORY}"


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
