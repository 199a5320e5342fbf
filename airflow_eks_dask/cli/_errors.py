"""How commands fail."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

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
    except CommandError as error:
        # The reader of standard output comes first.
        sys.stdout.flush()
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print(f"airflow eks-dask {command}: {error}", markup=False)
        raise SystemExit(error.exit_code) from None
