"""Which Kubernetes cluster, and how to get in: on EKS, by an Airflow connection, or by a kubeconfig."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.resources import validation
from airflow_eks_dask.resources.base import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    import kubernetes.client  # type: ignore[import-untyped]
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
    from typing_extensions import Self

    from airflow_eks_dask.hooks.eks import EksKubernetes

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""What a pod knows about the cluster it is in."""

LISTS = ("clusters", "contexts", "users")
"""What a kubeconfig has lists of; each entry has a name."""


@dataclass(frozen=True, kw_only=True)
class KubernetesCluster:
    """
    A Kubernetes cluster; without any of these the one that ``kubectl`` would take, or that this pod is in.

    It holds no secret, so that triggers and XCom can hold it.

    :param eks_cluster_name: Name of an EKS cluster; tokens are made from the AWS connection.
    :param aws_conn_id: Airflow connection of type AWS; None for what boto3 finds by itself.
    :param region_name: AWS region; None for the connection's own.
    :param kubernetes_conn_id: Airflow connection of type Kubernetes.
    :param kubeconfig: Path of a kubeconfig.
    :param cluster_context: Context in the kubeconfig, or in that of the connection; None for its current one.
    """

    eks_cluster_name: str | None = None
    aws_conn_id: str | None = "aws_default"
    region_name: str | None = None
    kubernetes_conn_id: str | None = None
    kubeconfig: str | None = None
    cluster_context: str | None = None

    def problems(self) -> list[str]:
        """Return all that is wrong, without asking anybody."""
        ways = ("eks_cluster_name", "kubernetes_conn_id", "kubeconfig")
        given = [name for name in ways if getattr(self, name)]
        found = [f"{' and '.join(given)} are given: choose one"] if len(given) > 1 else []
        if self.eks_cluster_name:
            found += validation.cluster_name(self.eks_cluster_name)
            if self.cluster_context:
                found.append("cluster_context goes with a kubeconfig, not with eks_cluster_name")
        if self.kubeconfig and self.kubeconfig != UNKNOWN and not Path(self.kubeconfig).expanduser().is_file():
            found.append(f"kubeconfig {self.kubeconfig}: there is no such file where the task runs")
        return found

    def client(self) -> kubernetes.client.ApiClient:
        """
        Return a client of its API, with timeouts; to be closed after use: it is a context manager.

        :raises KubernetesError: The EKS cluster is not there.
        :raises ValueError: There is no kubeconfig, or it names no such context.
        """
        if self.eks_cluster_name:
            return self._eks().client()
        from kubernetes.config import ConfigException  # type: ignore[import-untyped]

        try:
            return self._hook().get_conn()
        except ConfigException as error:
            raise ValueError(f"No Kubernetes cluster is known: {error}") from error

    @contextmanager
    def kubeconfig_file(self) -> Iterator[Path]:
        """
        Write a kubeconfig for a program such as Helm; it is there while the block runs, for this user alone.

        For EKS it holds no token: the program asks this process. Otherwise it holds what the connection or the
        kubeconfig holds.

        :raises KubernetesError: The EKS cluster is not there.
        :raises ValueError: The kubeconfig can't be read.
        """
        import yaml  # type: ignore[import-untyped]

        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="airflow-eks-dask-")))
            document = self._eks_document(directory, stack) if self.eks_cluster_name else self._own_document()
            file = directory / "kubeconfig"
            file.touch(mode=0o600)
            file.write_text(yaml.safe_dump(document))
            yield file

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data, for :meth:`from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the cluster of this data."""
        return cls(**data)

    def _eks(self) -> EksKubernetes:
        from airflow_eks_dask.hooks.aws import AwsClients
        from airflow_eks_dask.hooks.eks import EksKubernetes

        return EksKubernetes(AwsClients(self.aws_conn_id, self.region_name), self.eks_cluster_name or "")

    def _hook(self) -> KubernetesHook:
        import kubernetes.client
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

        files = [] if self.kubernetes_conn_id else self._files()
        return KubernetesHook(
            conn_id=self.kubernetes_conn_id,
            # Without one of its own it would change the configuration that all clients of this process begin with.
            client_configuration=kubernetes.client.Configuration(),
            config_file=os.pathsep.join(map(str, files)) or None,
            cluster_context=self.cluster_context,
        )

    def _files(self) -> list[Path]:
        """Return the kubeconfigs that count; none: the pod knows its cluster."""
        if self.kubeconfig:
            return [Path(self.kubeconfig).expanduser()]
        named = [Path(path) for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
        return [file for file in named or [Path("~/.kube/config").expanduser()] if file.is_file()]

    def _eks_document(self, directory: Path, stack: ExitStack) -> dict[str, Any]:
        from airflow_eks_dask.hooks.credential_plugin import CredentialServer

        kubernetes = self._eks()
        server = stack.enter_context(CredentialServer(kubernetes.tokens, directory / "credentials"))
        where = kubernetes.api_server
        return _document({"server": where.url, "certificate-authority-data": where.authority_data}, server.plugin())

    def _own_document(self) -> dict[str, Any]:
        if self.kubernetes_conn_id:
            return self._connection_document()
        files = self._files()
        return _in_context(_merged([_read(file) for file in files]), self.cluster_context) if files else _pod_document()

    def _connection_document(self) -> dict[str, Any]:
        import yaml

        extra = self._hook().conn_extras
        fields = {name.removeprefix("extra__kubernetes__"): value for name, value in extra.items() if value}
        context = self.cluster_context or fields.get("cluster_context")
        if path := fields.get("kube_config_path"):
            return _in_context(_read(Path(path)), context)
        if content := fields.get("kube_config"):
            document = content if isinstance(content, dict) else yaml.safe_load(content)
            return _in_context(_checked(document, f"connection {self.kubernetes_conn_id}"), context)
        return _pod_document()


def _document(cluster: dict[str, Any], plugin: dict[str, Any] | None = None, **user: Any) -> dict[str, Any]:
    name = "cluster"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"exec": plugin} if plugin else user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def _pod_document() -> dict[str, Any]:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ValueError(
            "No Kubernetes cluster is known: give eks_cluster_name, kubernetes_conn_id or kubeconfig; there is no "
            "~/.kube/config where the task runs, KUBECONFIG names none, and it does not run in a pod."
        )
    address = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    # The kubelet renews the token in that file.
    return _document(
        {"server": address, "certificate-authority": str(SERVICE_ACCOUNT / "ca.crt")},
        tokenFile=str(SERVICE_ACCOUNT / "token"),
    )


def read_kubeconfig(file: Path) -> dict[str, Any]:
    """
    Read a kubeconfig; an empty file holds nothing.

    :raises ValueError: It is none.
    :raises OSError: There is no such file, or it may not be read.
    """
    import yaml

    try:
        content = yaml.safe_load(file.read_text())
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{file} is not valid YAML: {error}") from error
    if content is None:
        return {}
    lists = [content.get(name) or [] for name in LISTS] if isinstance(content, dict) else [None]
    if not all(
        isinstance(each, list) and all(isinstance(one, dict) and "name" in one for one in each) for each in lists
    ):
        raise ValueError(f"{file} is no kubeconfig")
    return dict(content)


def _read(file: Path) -> dict[str, Any]:
    try:
        document = _checked(read_kubeconfig(file), str(file))
    except OSError as error:
        raise ValueError(f"{file} could not be read as a kubeconfig: {error}") from error
    paths = {"cluster": ("certificate-authority",), "user": ("client-certificate", "client-key", "tokenFile")}
    for kind, names in paths.items():
        for entry in document.get(f"{kind}s") or []:
            for name in set(names) & set(entry.get(kind) or {}):
                # A path in a kubeconfig is relative to the kubeconfig.
                entry[kind][name] = str(file.resolve().parent / entry[kind][name])
    return document


def _checked(document: Any, where: str) -> dict[str, Any]:
    if not isinstance(document, dict) or not document.get("clusters"):
        raise ValueError(f"{where} holds no kubeconfig with a cluster")
    return document


def _merged(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge as ``kubectl`` does: of two entries of a name the first counts."""
    merged: dict[str, Any] = {}
    for document in documents:
        for key, value in document.items():
            if key not in LISTS:
                merged.setdefault(key, value)
                continue
            entries = merged.setdefault(key, [])
            known = {each["name"] for each in entries}
            entries += [each for each in value or [] if each["name"] not in known]
    return merged


def _in_context(document: dict[str, Any], context: str | None) -> dict[str, Any]:
    names = [each["name"] for each in document.get("contexts") or []]
    wanted = context or document.get("current-context")
    if wanted not in names:
        raise ValueError(f"There is no context {wanted!r} in the kubeconfig, but {', '.join(names) or 'none at all'}")
    return {**document, "current-context": wanted}
