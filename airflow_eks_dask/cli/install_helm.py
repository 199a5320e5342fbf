"""``airflow eks-dask install-helm``: put Helm and kubectl in place, for the tasks that need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.utils.cli import suppress_logs_and_warning
from rich.console import Console

from airflow_eks_dask.cli._errors import CommandError, reported
from airflow_eks_dask.cli._show import print_json
from airflow_eks_dask.helm.binary import BUNDLE, find_helm
from airflow_eks_dask.helm.errors import HelmError
from airflow_eks_dask.helm.install import install

if TYPE_CHECKING:
    from argparse import Namespace


@suppress_logs_and_warning
def install_helm(args: Namespace) -> None:
    """
    Run the command.

    :param args: ``output``, ``verbose``, as defined in ``definition``.
    :raises SystemExit: 1 if it failed.
    """
    with reported("install-helm"):
        try:
            changed = install()
            used = find_helm()
        except HelmError as error:
            raise CommandError(str(error)) from None
    installed = BUNDLE.directory / "helm"
    if args.output == "json":
        print_json({"helm": str(installed), "version": BUNDLE.helm_version, "changed": changed, "used": str(used)})
        return
    lines = [f"Helm {BUNDLE.helm_version} {'is now' if changed else 'was'} in {installed}, and kubectl beside it."]
    if used != installed:
        lines.append(f"Tasks use {used}, which comes first: [dask] helm_binary, then PATH, then this one.")
    Console(soft_wrap=True, highlight=False).print("\n".join(lines), markup=False)
