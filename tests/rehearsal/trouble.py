"""What goes wrong in each group of tasks of a bootstrap, and how somebody puts it right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rehearsal.stage import Stage


@dataclass(frozen=True)
class Trouble:
    """
    Something that goes wrong.

    :param tasks: Those that fail by it.
    :param begin: Lets it go wrong.
    :param mend: Puts it right.
    """

    tasks: frozenset[str]
    begin: Callable[[Stage], None]
    mend: Callable[[Stage], None] = lambda _: None


def denied(operation: str, *tasks: str, calls_before: int = 0) -> Trouble:
    """
    AWS denies an operation, until somebody is allowed to.

    :param tasks: Those that make the call.
    :param calls_before: How often others make it before them.
    """

    def begin(stage: Stage) -> None:
        stage.aws.fail("denied", operation=operation, nth=calls_before + 1, times=len(tasks))

    return Trouble(frozenset(tasks), begin)


def no_way_in() -> Trouble:
    """The cluster takes no tokens."""

    def begin(stage: Stage) -> None:
        stage.authenticator.is_closed = True

    def mend(stage: Stage) -> None:
        stage.authenticator.is_closed = False

    return Trouble(frozenset({"pipeline.certificates"}), begin, mend)


def no_charts() -> Trouble:
    """The repository of charts is empty."""

    def begin(stage: Stage) -> None:
        (stage.charts / "index.yaml").rename(stage.charts / "later.yaml")

    def mend(stage: Stage) -> None:
        (stage.charts / "later.yaml").rename(stage.charts / "index.yaml")

    return Trouble(frozenset({"services.headlamp"}), begin, mend)


def no_way_back() -> Trouble:
    """Pods do not reach Airflow."""
    return Trouble(
        frozenset({"verify.from_within"}),
        lambda stage: stage.execution_api.stop(),
        lambda stage: stage.execution_api.start(),
    )


def connection_of_others() -> Trouble:
    """Somebody else has written the connection in the meantime."""
    body = {"connection_id": "dask_default", "conn_type": "dask", "host": "127.0.0.1", "port": 8786}
    return Trouble(
        frozenset({"hand_over.publish"}),
        lambda stage: stage.client.request("POST", "/connections", json=body),
        lambda stage: stage.client.request("DELETE", "/connections/dask_default"),
    )


AT_FIRST = (
    denied("GetCallerIdentity", "preflight.form"),
    denied("DescribeStacks", "plan.plan"),
    denied("CreateStack", "network.network"),
    denied("CreateRole", "roles.cluster", "roles.node", "roles.ebs_csi", "roles.worker"),
    denied("CreateDBSubnetGroup", "database.subnets"),
    denied("CreateBucket", "bucket.bucket"),
    denied("CreateCluster", "cluster.cluster"),
    denied("CreateNodegroup", "nodes.nodes"),
    denied("CreateOpenIDConnectProvider", "access.oidc_provider"),
    denied("CreateAddon", "addons.coredns", "addons.metrics-server", "addons.aws-ebs-csi-driver", calls_before=3),
    no_way_in(),
    no_charts(),
    no_way_back(),
)
"""What is wrong before the run begins."""

ONCE_THE_FORM_IS_READ = (connection_of_others(),)
"""What would be told at once if it were so before."""
