"""Manifests as people write them: read, flattened and checked, without asking the cluster."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from airflow_eks_dask.manifests.objects import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_API_VERSION = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[a-z0-9]+")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Takes dates for text, as Kubernetes and Helm do."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parsed(text: str, where: str) -> list[Any]:
    """
    Return the documents of a YAML text; empty ones are left out.

    :param where: What the text is called in an error.
    :raises ValueError: It is no YAML. What the text says is not repeated: it may be secret.
    """
    try:
        return [each for each in yaml.load_all(text, Loader) if each is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{where} is no YAML{at}: {getattr(error, 'problem', None) or 'it can not be read'}") from None


def flattened(documents: Iterable[Any]) -> Iterator[Any]:
    """Yield documents, and in place of each list (``kind: List``, or any other with ``items``) what is in it."""
    for document in documents:
        kind = document.get("kind") if isinstance(document, Mapping) else None
        if isinstance(kind, str) and kind.endswith("List") and isinstance(document.get("items"), list):
            yield from flattened(document["items"])
        else:
            yield document


def problems(documents: Sequence[Any]) -> list[str]:
    """Return all that is wrong with documents, as far as that can be told without the cluster."""
    found: list[str] = []
    for number, document in enumerate(documents, 1):
        found += [f"document {number}{_called(document)}: {each}" for each in _problems(document)]
    return found


def duplicates(references: Iterable[Reference]) -> list[str]:
    """Return a problem for each object that is described more than once, in whichever version of its API."""
    counts = Counter((Reference(each.group, each.kind, each.namespace, each.name), str(each)) for each in references)
    return [f"{name} is described {count} times" for (_, name), count in counts.items() if count > 1]


def namespace_problems(namespace: object) -> list[str]:
    """Return what is wrong with the name of a namespace."""
    if isinstance(namespace, str) and _NAMESPACE.fullmatch(namespace):
        return []
    return [f"namespace {namespace!r} is no name: lower-case letters, digits and hyphens, 63 characters at most"]


def secret_values(documents: Iterable[Any]) -> Iterator[str]:
    """Yield what Secrets hold, in clear and in base64."""
    for document in documents:
        if not isinstance(document, Mapping) or document.get("kind") != "Secret":
            continue
        for part in ("data", "stringData"):
            values = document.get(part)
            for value in values.values() if isinstance(values, Mapping) else ():
                yield str(value)
                if other := _decoded(value) if part == "data" else _encoded(str(value)):
                    yield other


def with_encoded_data(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    Return a Secret with all that it holds in ``data``; anything else as it is.

    The server moves ``stringData`` there, but does not take away what was once moved and is said no more.
    """
    if document.get("kind") != "Secret" or not document.get("stringData"):
        return document
    encoded = {key: _encoded(value) for key, value in document["stringData"].items()}
    rest = {key: value for key, value in document.items() if key != "stringData"}
    return {**rest, "data": {**(document.get("data") or {}), **encoded}}


def _problems(document: Any) -> list[str]:
    if not isinstance(document, Mapping):
        return [f"it is no mapping, but a {type(document).__name__}"]
    found = []
    version, kind, metadata = document.get("apiVersion"), document.get("kind"), document.get("metadata")
    if not isinstance(version, str) or not _API_VERSION.fullmatch(version):
        found.append(f"apiVersion {version!r} is none" if version is not None else "it has no apiVersion")
    if not isinstance(kind, str) or not kind.isalnum():
        found.append(f"kind {kind!r} is none" if kind is not None else "it has no kind")
    return found + (_metadata_problems(metadata) if not found else []) + _secret_problems(document)


def _metadata_problems(metadata: Any) -> list[str]:
    if metadata is None:
        return ["it has no metadata.name"]
    if not isinstance(metadata, Mapping):
        return ["its metadata is no mapping"]
    name = metadata.get("name")
    if name is None:
        generated = " (generateName makes another object with each run)" if "generateName" in metadata else ""
        return [f"it has no metadata.name{generated}"]
    found = []
    # Each is part of the address that is asked.
    if not isinstance(name, str) or not name or "/" in name or "%" in name or name in (".", ".."):
        found.append(f"metadata.name {name!r} is no name")
    if metadata.get("namespace") is not None:
        found += namespace_problems(metadata["namespace"])
    if not all(isinstance(key, str) and isinstance(value, str) for key, value in _items(metadata.get("labels"))):
        found.append("its labels are no mapping of texts to texts: quote numbers and truth values")
    return found


def _items(labels: Any) -> Iterable[tuple[Any, Any]]:
    if labels is None:
        return ()
    return labels.items() if isinstance(labels, Mapping) else ((None, None),)


def _secret_problems(document: Mapping[str, Any]) -> list[str]:
    """Say what the server would answer to with what the Secret holds."""
    if document.get("kind") != "Secret":
        return []
    found = []
    for part in ("data", "stringData"):
        values = document.get(part)
        if values is not None and not isinstance(values, Mapping):
            found.append(f"its {part} is no mapping")
            continue
        for key, value in (values or {}).items():
            if not isinstance(value, str):
                found.append(f"{part}[{key}] is no text, but a {type(value).__name__}: quote it")
            elif part == "data" and _decoded(value) is None:
                found.append(f"data[{key}] is not in base64: stringData takes it as it is")
    return found


def _encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _decoded(value: Any) -> str | None:
    try:
        return base64.b64decode(value, validate=True).decode(errors="ignore")
    except (binascii.Error, TypeError, ValueError):
        return None


def _called(document: Any) -> str:
    if not isinstance(document, Mapping):
        return ""
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    words = [each for each in (document.get("kind"), name) if isinstance(each, str)]
    return f" ({' '.join(words)})" if words else ""
