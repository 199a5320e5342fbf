"""What is added to the lists of ``aws-auth``, and taken from them again."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_eks_dask.resources.aws_auth_map import MalformedListError, Record, merge, read, remove

NODES = {
    "rolearn": "arn:aws:iam::111122223333:role/nodes",
    "username": "system:node:{{EC2PrivateDNSName}}",
    "groups": ["system:bootstrappers", "system:nodes"],
}
ADA = {"userarn": "arn:aws:iam::111122223333:user/ada", "username": "ada", "groups": []}
OPS = """\
# Agreed with operations, do not touch.
- rolearn: arn:aws:iam::111122223333:role/ops   # on call
  username: ops:{{SessionName}}
  groups: ["system:masters", 'auditors']

"""


def added(text, *entries, record=None):
    return merge({"mapRoles": text}, record or Record(), {"mapRoles": entries})


def taken(text, record):
    return remove({"mapRoles": text}, record, None)


def test_an_entry_goes_below_what_is_there():
    edit = added(OPS, NODES)
    assert edit.texts == {
        "mapRoles": OPS
        + """\
- groups:
  - system:bootstrappers
  - system:nodes
  rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
"""
    }
    assert edit.reasons == (f"mapRoles: {NODES['rolearn']} is missing",)
    assert edit.record.arns == {"mapRoles": [NODES["rolearn"]]}


def test_what_was_added_goes_and_nothing_else():
    edit = added(OPS, NODES)
    gone = taken(edit.texts["mapRoles"], edit.record)
    assert gone.texts == {"mapRoles": OPS}
    assert gone.record.arns == {"mapRoles": []}


@pytest.mark.parametrize("text", ["", "\n", "[]", "[]\n", "null\n", "# nobody yet\n", "---\n"])
def test_an_empty_list_gets_its_first_entry(text):
    assert read("mapRoles", added(text, NODES).texts["mapRoles"]) == [NODES]


@pytest.mark.parametrize("comment", ["# first\n", "---\n# second\n"])
def test_a_comment_in_an_empty_list_stays(comment):
    edit = added(comment + "[]\n", NODES)
    assert edit.texts["mapRoles"].startswith(comment)
    assert taken(edit.texts["mapRoles"], edit.record).texts["mapRoles"].startswith(comment)


@pytest.mark.parametrize(
    "text",
    [
        '[{"rolearn": "arn:aws:iam::1:role/a"}, {"rolearn": "arn:aws:iam::1:role/b"} ]  # both\n',
        "[\n  {rolearn: a},  # a\n]\n",
        "  - rolearn: a\n  - rolearn: b",
        "-\n  rolearn: a\n-   rolearn: b\n    username: |\n      x\n\n",
        "- rolearn: a\n  groups: &g [x]\n- rolearn: b\n  groups: *g\n",
        "- rolearn: a\r\n  username: b\r\n",
        "- rolearn: 'a'\n  username: >-\n    long\n    name\n# the end\n",
    ],
)
def test_any_style_is_kept(text):
    edit = added(text, NODES)
    edited = edit.texts["mapRoles"]
    assert read("mapRoles", edited) == [*read("mapRoles", text), NODES]
    assert len(edit.reasons) == 1
    assert taken(edited, edit.record).texts["mapRoles"].rstrip("\n") == text.rstrip("\n")


def test_an_entry_in_the_middle_goes():
    edit = added("", NODES)
    text = OPS + edit.texts["mapRoles"] + "# later\n- rolearn: arn:aws:iam::111122223333:role/later\n"
    assert (
        taken(text, edit.record).texts["mapRoles"] == OPS + "# later\n- rolearn: arn:aws:iam::111122223333:role/later\n"
    )


def test_an_entry_of_a_flow_list_goes_from_any_place():
    first, second = {"rolearn": "a"}, {"rolearn": "b"}
    for entries in ([NODES, first, second], [first, NODES, second], [first, second, NODES], [NODES]):
        text = f"  {json.dumps(entries)}  # flow\n"
        left = taken(text, Record({"mapRoles": [NODES["rolearn"]]})).texts["mapRoles"]
        assert read("mapRoles", left) == [entry for entry in entries if entry is not NODES]
        assert left.endswith("  # flow\n")


def test_a_list_that_cannot_be_edited_is_written_anew_and_says_so():
    text = "# kept nowhere else\n- rolearn: a\n...\n"
    edit = added(text, NODES)
    assert read("mapRoles", edit.texts["mapRoles"]) == [{"rolearn": "a"}, NODES]
    assert "mapRoles has to be written anew, and loses its comments" in edit.reasons


def test_an_anchor_that_others_use_does_not_go_with_our_entry():
    text = f"- rolearn: {NODES['rolearn']}\n  groups: &g [x]\n- rolearn: b\n  groups: *g\n"
    edit = taken(text, Record({"mapRoles": [NODES["rolearn"]]}))
    assert read("mapRoles", edit.texts["mapRoles"]) == [{"rolearn": "b", "groups": ["x"]}]


def test_an_entry_of_ours_that_differs_is_mended():
    edit = added(OPS, NODES)
    changed = edit.texts["mapRoles"].replace("system:nodes", "system:masters")
    mended = added(changed, NODES, record=edit.record)
    assert mended.texts == edit.texts
    assert mended.reasons == (f"mapRoles: {NODES['rolearn']} says otherwise",)


def test_an_entry_of_ours_that_somebody_removed_comes_back():
    edit = added(OPS, NODES)
    assert added(OPS, NODES, record=edit.record).texts == edit.texts


def test_an_entry_of_ours_that_was_doubled_is_one_again():
    edit = added("", NODES)
    doubled = edit.texts["mapRoles"] * 2
    assert added(doubled, NODES, record=edit.record).texts == edit.texts


@pytest.mark.parametrize(
    "theirs",
    [NODES, NODES | {"groups": NODES["groups"][::-1]}, NODES | {"rolearn": "arn:aws:iam::111122223333:role/NODES"}],
)
def test_an_entry_of_others_that_says_the_same_is_used_and_stays_theirs(theirs):
    edit = added(yaml.safe_dump([theirs]), NODES)
    assert (edit.texts, edit.reasons, edit.conflicts, edit.record.arns) == ({}, (), (), {})


def test_an_entry_of_others_that_says_otherwise_is_a_conflict():
    edit = added(yaml.safe_dump([NODES | {"username": "root"}]), NODES)
    assert edit.texts == {}
    assert edit.conflicts == (
        f"mapRoles has an entry for {NODES['rolearn']} that was not made for this cluster and says otherwise",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- rolearn: [", "mapRoles is not valid YAML"),
        ("- rolearn: a\n - b", "mapRoles is not valid YAML"),
        ("- a: 1\n---\n- b: 2\n", "mapRoles is not valid YAML"),
        ("- !!python/object:os.system x", "mapRoles is not valid YAML"),
        ("rolearn: a", "mapRoles is not a list of entries"),
        ("- a\n- b", "mapRoles is not a list of entries"),
        ("text", "mapRoles is not a list of entries"),
        ("\x00", "mapRoles is not valid YAML"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(text, message):
    with pytest.raises(MalformedListError, match=message):
        added(text, NODES)
    with pytest.raises(MalformedListError, match=message):
        taken(text, Record({"mapRoles": [NODES["rolearn"]]}))


def test_lists_that_need_no_change_are_not_read():
    edit = merge({"mapRoles": "", "mapUsers": "- ["}, Record(), {"mapRoles": [NODES], "mapUsers": []})
    assert edit.texts.keys() == {"mapRoles"}


def test_only_the_named_entries_go():
    edit = merge({}, Record(), {"mapRoles": [NODES], "mapUsers": [ADA]})
    gone = remove(edit.texts, edit.record, {"mapUsers": [ADA["userarn"]]})
    assert {name: read(name, text) for name, text in gone.texts.items()} == {"mapUsers": []}
    assert gone.record.arns == {"mapRoles": [NODES["rolearn"]], "mapUsers": []}


def test_an_entry_that_is_not_ours_does_not_go_when_named():
    edit = remove({"mapRoles": yaml.safe_dump([NODES])}, Record(), {"mapRoles": [NODES["rolearn"]]})
    assert (edit.texts, edit.reasons) == ({}, ())


def test_a_record_can_be_read_again():
    record = Record({"mapRoles": ["a", "b"], "mapUsers": []}, created=True)
    assert Record.from_annotation(record.to_annotation("pipelines"), "pipelines") == record


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", Record({"mapRoles": ["a"]}, True).to_annotation("other")])
def test_what_is_no_record_of_ours_makes_nothing_ours(text):
    assert Record.from_annotation(text, "pipelines") == Record()


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
foreign_entries = st.lists(
    st.fixed_dictionaries(
        {"rolearn": st.from_regex(r"arn:aws:iam::\d{12}:role/theirs-[a-z]{1,8}", fullmatch=True)},
        optional={"username": words, "groups": st.lists(words, max_size=3), "note": words | st.none() | st.integers()},
    ),
    max_size=4,
)


@st.composite
def foreign_lists(draw):
    entries = draw(foreign_entries)
    style = draw(st.sampled_from(["block", "indented", "flow", "json", "commented"]))
    if style == "json":
        return json.dumps(entries)
    text = yaml.safe_dump(entries, default_flow_style=style == "flow", allow_unicode=draw(st.booleans()))
    if style == "indented" and entries:
        return "".join(f"   {line}" for line in text.splitlines(keepends=True))
    if style == "commented":
        return "".join(f"# {draw(st.sampled_from('ab'))} - c\n{yaml.safe_dump([entry])}" for entry in entries)
    return text


@settings(deadline=None)
@given(foreign_lists(), st.permutations([NODES, NODES | {"rolearn": "arn:aws:iam::111122223333:role/more"}]))
def test_what_others_wrote_survives_adding_and_taking(text, wanted):
    theirs = read("mapRoles", text)
    edit = added(text, *wanted)
    edited = edit.texts["mapRoles"]
    assert read("mapRoles", edited) == [*theirs, *wanted]
    if theirs and not text.lstrip().startswith("["):
        assert edited.startswith(text)

    again = added(edited, *wanted, record=edit.record)
    assert (again.texts, again.reasons) == ({}, ())

    gone = taken(edited, edit.record)
    assert read("mapRoles", gone.texts["mapRoles"]) == theirs
    if theirs:
        assert gone.texts["mapRoles"].rstrip("\n") == text.rstrip("\n")


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("-[]{}:,#&*!|>'\"%@` \n\tab~", max_size=40))
def test_any_text_is_refused_or_keeps_its_meaning(text):
    try:
        theirs = read("mapRoles", text)
    except MalformedListError:
        with pytest.raises(MalformedListError):
            added(text, NODES)
        return
    edit = added(text, NODES)
    assert read("mapRoles", edit.texts["mapRoles"]) == [*theirs, NODES]
    assert read("mapRoles", taken(edit.texts["mapRoles"], edit.record).texts["mapRoles"]) == theirs
