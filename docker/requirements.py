"""
Print what a ``setup.cfg`` requires, with extras: ``requirements.py setup.cfg samples,demo``.

An installer would want the whole package for that, and the image would install all again after each change of it.
"""

from __future__ import annotations

import configparser
import sys


def main(file: str, extras: str) -> None:
    """
    Print one requirement a line.

    :param file: The ``setup.cfg``.
    :param extras: Names, with a comma between two; may be empty.
    :raises SystemExit: There is no such extra.
    """
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(file)
    known = setup["options.extras_require"]
    wanted = [name for name in extras.split(",") if name]
    if unknown := [name for name in wanted if name not in known]:
        raise SystemExit(f"{file} has no extra {', '.join(unknown)}; it has {', '.join(known)}")
    print(setup["options"]["install_requires"], *(known[name] for name in wanted), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
