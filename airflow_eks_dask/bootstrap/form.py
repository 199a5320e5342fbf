"""The form of a cluster, as Airflow shows it: sections, explanations, what is allowed, and defaults that work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict

if TYPE_CHECKING:
    from collections.abc import Mapping

CLUSTER_NAME = r"^[a-z][a-z0-9-]{0,26}[a-z0-9]$"
"""What is named after it takes no other letters, and no more of them: roles, a database, a bucket."""

DEFAULT_CLUSTER_NAME = "pipelines"

_NETWORK = r"^(\d{1,3}\.){3}\d{1,3}/\d{1,2}$"
_CONNECTION = r"^[\w.-]+$"
_OBJECT_NAME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_MEMORY = r"^[1-9]\d*(Mi|Gi)$"


def _section(name: str, **params: Param) -> dict[str, Param]:
    for param in params.values():
        param.schema["section"] = name
    return params


def _text(default: str, title: str, description: str, **schema: Any) -> Param:
    # Airflow wants a value for whatever isn't said to be able to do without.
    kind: Any = ["string", "null"] if default == "" else "string"
    return Param(default, type=kind, title=title, description=description, **schema)


def _number(default: int, title: str, description: str, least: int, most: int) -> Param:
    return Param(default, type="integer", title=title, description=description, minimum=least, maximum=most)


def _yes_no(default: bool, title: str, description: str) -> Param:
    return Param(default, type="boolean", title=title, description=description)


def _list(default: list[str], title: str, description: str, pattern: str, **schema: Any) -> Param:
    items = {"type": "string", "pattern": pattern}
    kind: Any = ["array", "null"] if not default else "array"
    return Param(default, type=kind, title=title, description=description, items=items, **schema)


def _choice(default: str, title: str, description: str, choices: Mapping[str, str]) -> Param:
    """Return a choice: what is meant by each value stands beside it."""
    return Param(
        default,
        type="string",
        title=title,
        description=description,
        enum=list(choices),
        values_display=dict(choices),
    )


def which_cluster() -> dict[str, Param]:
    """Return the fields that say which cluster is meant; all forms have them."""
    return _section(
        "Cluster",
        cluster_name=_text(
            DEFAULT_CLUSTER_NAME,
            "Name",
            "What the cluster is called, and what is made for it is named after: 2 to 28 small letters, digits and "
            "hyphens. The same name and region again: what is there is changed to what this form says.",
            pattern=CLUSTER_NAME,
        ),
        region_name=_text(
            "",
            "AWS region",
            "Such as eu-central-1. Empty: the region of the AWS connection.",
            pattern=r"^$|^[a-z]{2}(-[a-z]+)+-\d$",
        ),
        aws_conn_id=_text(
            "aws_default", "AWS connection", "Airflow connection with credentials for AWS.", pattern=_CONNECTION
        ),
        airflow_api_conn_id=_text(
            "airflow_api",
            "Connection to Airflow's API",
            "Airflow connection to its own REST API, by which tasks are moved to the cluster. Not needed where nobody "
            "has to log in.",
            pattern=_CONNECTION,
        ),
    )


def bootstrap_form() -> dict[str, Param]:
    """Return the form of what is built."""
    return {
        **_section(
            "What to do",
            plan_only=_yes_no(
                False,
                "Plan only",
                "Check the account and show what would be made, why, and what it costs a month. Nothing is changed.",
            ),
        ),
        **which_cluster(),
        **_kubernetes(),
        **_network(),
        **_nodes(),
        **_workers(),
        **_way_in(),
        **_data(),
        **_services(),
    }


def _kubernetes() -> dict[str, Param]:
    return _section(
        "Kubernetes",
        kubernetes_version=_text(
            "default",
            "Version",
            "Such as 1.34; default: the one that AWS prefers; latest: the newest with standard support.",
            pattern=r"^(default|latest|1\.\d{1,2})$",
        ),
        public_access_cidrs=_list(
            ["0.0.0.0/0"],
            "Who reaches the API",
            "Address ranges from which the cluster's API is reached beside its own network, one a line: that of "
            "Airflow is enough. Whoever reaches it has to log in with AWS. None: only from within the network.",
            _NETWORK,
        ),
        admins=_list(
            [],
            "Administrators",
            "ARNs of IAM roles and users that may do everything in the cluster, one a line, beside the one of the AWS "
            "connection.",
            r"^arn:aws[a-z-]*:iam::\d{12}:(role|user)/.+$",
        ),
        tags=Param(
            {},
            type=["object", "null"],
            title="Tags",
            description='Further tags of all that is made in AWS, such as {"team": "data"}.',
            additionalProperties={"type": "string"},
        ),
    )


def _network() -> dict[str, Param]:
    return _section(
        "Network",
        vpc_id=_text(
            "", "Existing network", "Id of a VPC to use. Empty: one is made.", pattern=r"^$|^vpc-[0-9a-f]{8,17}$"
        ),
        private_subnet_ids=_list(
            [],
            "Subnets of the existing network",
            "Ids of private subnets in two zones or more, with a way to the internet, one a line.",
            r"^subnet-[0-9a-f]{8,17}$",
        ),
        cidr=_text(
            "10.20.0.0/16",
            "Addresses of a new network",
            "From /16 to /24. Let them differ from those of networks that it may be connected with one day.",
            pattern=_NETWORK,
        ),
        zones=_number(2, "Zones", "Availability zones of a new network.", 2, 3),
        nat_gateways=_choice(
            "single",
            "Way to the internet",
            "How private subnets of a new network reach the internet.",
            {"single": "one NAT gateway", "one_per_zone": "a NAT gateway in each zone, which outlives the loss of one"},
        ),
    )


def _nodes() -> dict[str, Param]:
    return _section(
        "Nodes",
        instance_types=_list(
            ["m7i.large", "m6i.large", "m5.large"],
            "Instance types",
            "Types of about the same size, one a line; AWS takes the first that it has.",
            r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$",
            minItems=1,
        ),
        capacity_type=_choice(
            "ON_DEMAND",
            "Capacity",
            "Spot instances cost a third and may be taken away with two minutes' notice.",
            {"ON_DEMAND": "on demand", "SPOT": "spot"},
        ),
        min_nodes=_number(2, "Nodes at least", "Nodes that the cluster begins with.", 1, 100),
        max_nodes=_number(4, "Nodes at most", "Up to where an autoscaler may go.", 1, 450),
        disk_size=_number(50, "Disk", "GiB of each node's disk.", 20, 1000),
    )


def _workers() -> dict[str, Param]:
    return _section(
        "Dask workers",
        workers=_number(2, "Workers", "Pods that run Airflow's tasks.", 1, 1000),
        slots=_number(4, "Slots", "Tasks that a worker runs at a time.", 1, 100),
        threads=_number(2, "Threads", "Threads of a worker for Dask computations; tasks take none.", 1, 96),
        worker_memory=_text("3Gi", "Memory", "Memory of a worker, such as 3Gi.", pattern=_MEMORY),
        image_repository=_text(
            "",
            "Image",
            "Repository of the image that scheduler and workers run, built from docker/ of this project with your "
            "DAGs. Empty: airflow-eks-dask in the registry (ECR) of the account and region.",
            pattern=r"^$|^[\w.:/-]+$",
        ),
        image_tag=_text("", "Tag of the image", "Empty: the version of this package.", pattern=r"^$|^\w[\w.-]{0,127}$"),
        helm_values=Param(
            {},
            type=["object", "null"],
            title="Further values",
            description="Anything else that the Helm chart `pipeline` takes, such as worker groups; it goes before "
            "what is above. No secrets: they are shown.",
        ),
    )


def _way_in() -> dict[str, Param]:
    return _section(
        "Between Airflow and the cluster",
        execution_api_url=_text(
            "",
            "Airflow's execution API",
            "How workers reach Airflow: https://airflow.example.com/execution/. Empty: as this Airflow says of itself.",
            pattern=r"^$|^https?://[^/]+/(.*/)?execution/?$",
        ),
        execution_api_ca=_text(
            "",
            "Authority of that API",
            "Certificate of the authority, in PEM, by which workers know Airflow's execution API. Empty: those that "
            "all the world knows.",
            format="multiline",
            pattern=r"^$|^-----BEGIN CERTIFICATE-----",
        ),
        dask_source_ranges=_list(
            [],
            "Who reaches the Dask scheduler",
            "Address ranges from which it is reached by a public address, with certificates of the cluster, one a "
            "line: that of Airflow. None: it has an address within the network only.",
            _NETWORK,
        ),
        connection_id=_text(
            "dask_default",
            "Connection of the cluster",
            "Airflow connection that is written in the end, and leads tasks to the cluster: [dask] connection_id, or "
            "that of one of [dask] lanes. Clusters side by side need one each.",
            pattern=_CONNECTION,
        ),
        namespace=_text("dask", "Namespace", "Where scheduler and workers are in Kubernetes.", pattern=_OBJECT_NAME),
    )


def _data() -> dict[str, Param]:
    return _section(
        "Data",
        database=_choice(
            "new",
            "Database",
            "PostgreSQL on RDS, for what pipelines make.",
            {"new": "make one", "existing": "use one that is there", "none": "none"},
        ),
        database_identifier=_text(
            "",
            "Existing database",
            "What an existing database is called in RDS.",
            pattern=r"^$|^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$",
        ),
        database_class=_text(
            "db.t4g.small",
            "Size of a new database",
            "Its instance class.",
            pattern=r"^db\.[a-z0-9-]+\.[a-z0-9]+$",
        ),
        database_storage=_number(20, "Storage of a new database", "GiB at first; it grows by itself.", 20, 16384),
        multi_az=_yes_no(False, "Standby", "Whether a new database has a standby in another zone; it costs double."),
        bucket=_yes_no(
            True, "Bucket", "Whether to have a bucket in S3, which workers read and write: for data and logs."
        ),
    )


def _services() -> dict[str, Param]:
    return _section(
        "Watching it",
        dashboard=_yes_no(True, "Dashboard", "Whether to install Headlamp, a web page of the Kubernetes cluster."),
        metrics=_yes_no(
            False,
            "History of metrics",
            "Whether to install Prometheus, with 20 GiB for two weeks of history. What runs now is measured anyway.",
        ),
        charts_repository=_text(
            "",
            "Chart repository",
            "A Helm repository that has the charts of both, for an Airflow that does not reach those of their makers. "
            "Nodes pull the images from where the charts say.",
            pattern=r"^$|^https?://[^\s@]+$",
        ),
    )


def teardown_form() -> dict[str, Param]:
    """Return the form of what is removed."""
    names = {
        "cluster_name": ("Name", "Which cluster is to go."),
        "cluster_name_again": ("Name, once more", "So that it is the one that is meant."),
    }
    # Without a default: Airflow wants both of them to be typed.
    typed = {
        name: Param(type="string", title=title, description=description, pattern=CLUSTER_NAME)
        for name, (title, description) in names.items()
    }
    where = which_cluster()
    del where["cluster_name"]
    return {
        **_section("Cluster", **typed),
        **where,
        **_section(
            "Data",
            database=_choice(
                "keep",
                "Database",
                "What becomes of a database that was made with the cluster.",
                {
                    "keep": "keep it, and the network it is in, with what that costs",
                    "snapshot": "delete it, after a last snapshot",
                    "delete": "delete it with all that is in it",
                },
            ),
            keep_bucket=_yes_no(True, "Keep the bucket", "Otherwise it goes, with all that is in it."),
        ),
    }


def complete(given: Mapping[str, Any], form: Mapping[str, Param]) -> dict[str, Any]:
    """
    Fill in a form: defaults for what isn't given.

    :raises ValueError: A field is unknown, or its value isn't allowed.
    """
    if unknown := sorted(set(given) - set(form)):
        raise ValueError(f"There are no fields {', '.join(unknown)}; there are {', '.join(form)}")
    params = ParamsDict(dict(form))
    params.update(dict(given))
    return params.validate()
