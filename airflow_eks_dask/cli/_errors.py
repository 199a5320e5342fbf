"""How commands fail."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

from airflow_eks_dask.hooks.dask_cluster import ClusterError, NoClusterError, SeveralClustersError

if TYPE_CHECKING:
    from collections.abc import Iterator


class CommandError(Exception):
    """What a command was asked for did not happen; the message says why and what to do."""

    exit_code = 1


class UsageError(CommandError):
    """A command was called in a way that makes no sense."""

    exit_code = 2


@contextmanager
def reported(command: str) -> Iterator[None]:
    """
    Tell errors on standard error and turn them into exit codes.

    :param command: Its name.
    :raises SystemExit: 1 if it failed, 2 if the arguments make no sense.
    """
    try:
        yield
    except SeveralClustersError as error:
        _fail(command, f"{error}. Choose one with --address", UsageError.exit_code)
    except NoClusterError as error:
        _fail(command, f"{error}. Or give --address", CommandError.exit_code)
    except ClusterError as error:
        _fail(command, str(error), CommandError.exit_code)
    except CommandError as error:
        _fail(command, str(error), error.exit_code)


def _fail(command: str, message: str, exit_code: int) -> NoReturn:
    # The reader of standard output comes first.
    sys.stdout.flush()
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"airflow eks-dask {command}: {message}", markup=False)
    raise SystemExit(exit_code) from None
