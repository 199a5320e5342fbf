"""Which chart, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Chart:
    """
    A chart.

    :param name: Path of a directory or archive, an address ``oci://registry/name``, or a name in the repository.
    :param repository: Address of the repository, ``https://...``, that has the chart of this name.
    :param version: Version of the chart, or a range; None: of a path, whatever it has; else the newest.
    """

    name: str
    repository: str | None = None
    version: str | None = None

    @property
    def is_remote(self) -> bool:
        """Whether it is fetched."""
        return bool(self.repository) or self.name.startswith("oci://")

    def problems(self) -> list[str]:
        """Return all that is wrong, without asking anybody."""
        found = []
        if not self.name or self.name.startswith("-"):
            found.append(f"chart {self.name!r} is none: a path, an oci:// address or a name in a repository is wanted")
        if self.repository and not self.repository.startswith(("https://", "http://")):
            found.append(f"repository {self.repository!r} is no https:// address")
        if self.repository and self.name.startswith(("oci://", "/", ".")):
            found.append(f"chart {self.name!r} is not of a repository: give either, not both")
        if any("@" in urlsplit(address).netloc for address in (self.repository, self.name) if address):
            found.append("the chart's address holds credentials, which would be seen: Helm has files for them")
        if not found and not self.is_remote and not (Path(self.name) / "Chart.yaml").is_file():
            path = Path(self.name)
            if not path.exists():
                found.append(f"chart {self.name!r} is not there: is it a path of the machine that runs the task?")
            elif path.is_dir():
                found.append(f"{self.name!r} holds no chart: it has no Chart.yaml")
        return found

    def arguments(self) -> list[str]:
        """Return what Helm is told."""
        repository = ["--repo", self.repository] if self.repository else []
        version = ["--version", self.version] if self.version else []
        return [self.name, *repository, *version]
