"""Where manifests come from: YAML, files, folders, and data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.manifests.documents import parsed
from airflow_eks_dask.manifests.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUFFIXES = (".yaml", ".yml", ".json")
OWN_FOLDER = Path(__file__).parents[1] / "templates"
"""What this package has of manifests."""


def read_manifests(given: Any, folders: Sequence[Path] = ()) -> list[Any]:
    """
    Return the documents of manifests.

    :param given: YAML, the path of a file or of a folder of files, a document as a mapping, or a list of these.
    :param folders: Where a path that is not absolute is looked for; at last it is among the manifests of this package.
    :raises ManifestError: Something can't be read: all of it is told at once.
    """
    problems: list[str] = []
    documents: list[Any] = []
    for each in given if isinstance(given, (list, tuple)) else [given]:
        try:
            documents += _read(each, [*folders, OWN_FOLDER])
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ManifestError.of("The manifests can't be read", problems)
    return documents


def _read(given: Any, folders: Sequence[Path]) -> Iterator[Any]:
    if isinstance(given, Mapping):
        yield given
    elif isinstance(given, Path) or (isinstance(given, str) and _is_path(given, folders)):
        for file in _files(Path(given), folders):
            yield from parsed(_text(file), str(file))
    elif isinstance(given, str):
        yield from parsed(given, "the text of the manifests")
    else:
        raise ValueError(f"manifests are YAML, paths and mappings, and not {type(given).__name__}")


def _is_path(text: str, folders: Sequence[Path]) -> bool:
    if not text.strip() or "\n" in text or ": " in text or text.lstrip().startswith(("{", "[")):
        return False
    return text.endswith((*SUFFIXES, "/")) or _found(Path(text), folders) is not None


def _files(path: Path, folders: Sequence[Path]) -> list[Path]:
    found = _found(path, folders)
    if found is None:
        where = "" if path.expanduser().is_absolute() else f" in {', '.join(map(str, folders))}"
        raise ValueError(f"{path}: there is no such file or folder{where}, where the task runs")
    if not found.is_dir():
        return [found]
    files = sorted(each for each in found.iterdir() if each.suffix in SUFFIXES)
    if not files:
        raise ValueError(f"{found}: there is no {', '.join(SUFFIXES)} in this folder")
    return files


def _found(path: Path, folders: Sequence[Path]) -> Path | None:
    candidates = (folder / path.expanduser() for folder in folders)
    return next((each for each in candidates if each.exists()), None)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} can't be read: {error}") from None
