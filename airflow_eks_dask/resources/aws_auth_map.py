"""
The lists in the ConfigMap ``aws-auth``, as text: what is added to them, and taken from them again.

Each list is YAML that others write too, by hand or by program. Its text is edited where something changes and kept as
it is elsewhere, with comments, order and style. Every edit is read again before it is used; should it not say what it
is meant to, the list is written anew, which costs its comments and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

LISTS = {"mapRoles": "rolearn", "mapUsers": "userarn"}
"""The lists, and what each calls the one that an entry is for."""

Entry = dict[str, Any]
"""An entry of a list: ``rolearn`` or ``userarn``, ``username`` and ``groups``."""


class MalformedListError(ValueError):
    """A list is no YAML, or is no list of entries; the message says which and why."""


@dataclass(frozen=True)
class Record:
    """
    Which entries we added; kept as an annotation of the ConfigMap.

    :param arns: Who our entries are for, by list.
    :param created: Whether the ConfigMap itself was made by us.
    """

    arns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    created: bool = False

    def to_annotation(self, cluster_name: str) -> str:
        """Return it as text that names the cluster."""
        return json.dumps({"cluster": cluster_name, "created": self.created, **self.arns}, sort_keys=True)

    @classmethod
    def from_annotation(cls, text: str | None, cluster_name: str) -> Record:
        """Read it; what another cluster's ConfigMap said, as a copy does, or nobody of us, is none of ours."""
        try:
            found = json.loads(text or "")
        except ValueError:
            return cls()
        if not isinstance(found, dict) or found.get("cluster") != cluster_name:
            return cls()
        return cls({name: [str(arn) for arn in found.get(name, ())] for name in LISTS}, bool(found.get("created")))


@dataclass(frozen=True)
class Edit:
    """
    What becomes of the lists.

    :param texts: The lists that change, by name.
    :param record: Which entries are ours afterwards.
    :param reasons: The differences, in words.
    :param conflicts: Entries of others that say something else than is wanted, in words.
    """

    texts: Mapping[str, str]
    record: Record
    reasons: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()


def merge(data: Mapping[str, str], record: Record, wanted: Mapping[str, Sequence[Entry]]) -> Edit:
    """
    Add entries that are missing, and mend those of ours that differ.

    An entry of somebody else that says the same is left to them; one that says something else is a conflict.

    :param data: The ConfigMap's data.
    :param wanted: Entries by list.
    :raises MalformedListError: A list can't be read.
    """
    texts, arns = {}, dict(record.arns)
    reasons: list[str] = []
    conflicts: list[str] = []
    for name, key in LISTS.items():
        entries = wanted.get(name, ())
        text, ours = data.get(name, ""), set(record.arns.get(name, ()))
        found = read(name, text) if entries else []
        drop: list[int] = []
        add: list[Entry] = []
        for entry in entries:
            arn = entry[key]
            places = [place for place, other in enumerate(found) if _is_for(other, key, arn)]
            if len(places) == 1 and _meaning(found[places[0]]) == _meaning(entry):
                continue
            if places and arn not in ours:
                conflicts.append(f"{name} has an entry for {arn} that was not made for this cluster and says otherwise")
                continue
            drop += places
            add.append(entry)
            reasons.append(f"{name}: {arn} {'says otherwise' if places else 'is missing'}")
        if add:
            texts[name] = edit(name, text, drop, add, reasons)
            arns[name] = sorted(ours | {entry[key] for entry in add})
    return Edit(texts, Record(arns, record.created), tuple(reasons), tuple(conflicts))


def remove(data: Mapping[str, str], record: Record, named: Mapping[str, Collection[str]] | None) -> Edit:
    """
    Take out entries of ours.

    :param data: The ConfigMap's data.
    :param named: Who the entries are for, by list; None for all of ours.
    :raises MalformedListError: A list can't be read.
    """
    texts, arns, reasons = {}, dict(record.arns), []
    for name, key in LISTS.items():
        ours = record.arns.get(name, ())
        gone = [arn for arn in ours if named is None or arn in named.get(name, ())]
        if not gone:
            continue
        text = data.get(name, "")
        found = read(name, text)
        drop = [place for place, entry in enumerate(found) if any(_is_for(entry, key, arn) for arn in gone)]
        reasons += [f"{name}: {arn}" for arn in gone]
        arns[name] = [arn for arn in ours if arn not in gone]
        if drop:
            texts[name] = edit(name, text, drop, [], reasons)
    return Edit(texts, Record(arns, record.created), tuple(reasons))


def read(name: str, text: str) -> list[Entry]:
    """
    Return the entries of a list.

    :param name: Of the list, for the message.
    :raises MalformedListError: It is no YAML, or no list of entries.
    """
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise MalformedListError(f"{name} is not valid YAML: {error}") from None
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise MalformedListError(f"{name} is not a list of entries")
    return found


def edit(name: str, text: str, drop: Collection[int], add: Sequence[Entry], reasons: list[str]) -> str:
    """
    Return the text of a list without some of its entries and with others at its end.

    :param drop: Places of entries, from 0.
    :param reasons: Is told if comments were lost.
    """
    wanted = [entry for place, entry in enumerate(read(name, text)) if place not in drop] + list(add)
    try:
        edited = text
        for place in sorted(drop, reverse=True):
            edited = _without(edited, place)
        for entry in add:
            edited = _with(edited, entry)
        if read(name, edited) == wanted:
            return edited
    except (yaml.YAMLError, MalformedListError):
        pass  # it says nothing about the list, only about the edit
    if "#" in text:
        reasons.append(f"{name} has to be written anew, and loses its comments")
    return _dump(wanted)


def _is_for(entry: Entry, key: str, arn: str) -> bool:
    return str(entry.get(key)).lower() == arn.lower()


def _meaning(entry: Entry) -> Entry:
    groups = entry.get("groups") or []
    return {
        **{key: str(value).lower() if key in LISTS.values() else value for key, value in entry.items()},
        "groups": sorted(map(str, groups)) if isinstance(groups, list) else groups,
    }


def _dump(entries: Sequence[Entry]) -> str:
    return str(yaml.safe_dump(list(entries), default_flow_style=False, allow_unicode=True, width=10**6))


def _with(text: str, entry: Entry) -> str:
    node = yaml.compose(text, yaml.SafeLoader)
    column = 0
    if isinstance(node, yaml.SequenceNode) and node.value:
        if node.flow_style:
            end = node.value[-1].end_mark.index
            return f"{text[:end]}, {json.dumps(entry)}{text[end:]}"
        column = node.start_mark.column
    elif node is not None:
        text = text[: node.start_mark.index] + text[node.end_mark.index :]
        text = text if text.strip() else ""
    lines = "".join(" " * column + line for line in _dump([entry]).splitlines(keepends=True))
    return text + ("" if text.endswith("\n") or not text else "\n") + lines


def _without(text: str, place: int) -> str:
    node = yaml.compose(text, yaml.SafeLoader)
    item, before, after = node.value[place], node.value[:place], node.value[place + 1 :]
    if not node.flow_style:
        begin = text.rfind("\n", 0, text.rfind("-", 0, item.start_mark.index)) + 1
        return text[:begin] + text[_end_of_line(text, item) :]
    if before:
        return text[: before[-1].end_mark.index] + text[item.end_mark.index :]
    return text[: item.start_mark.index] + text[(after[0].start_mark if after else item.end_mark).index :]


def _end_of_line(text: str, node: Any) -> int:
    """Return where the line after a node begins. A block's own mark of its end is where the next thing begins."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style:
        mark = node.end_mark
        return int(mark.index) if mark.column == 0 else (text.find("\n", mark.index) + 1 or len(text))
    parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    return max(_end_of_line(text, part) for part in parts)
