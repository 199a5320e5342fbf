"""Values of charts: read, merged and masked."""

from __future__ import annotations

import pytest

from airflow_eks_dask.helm.errors import HelmError
from airflow_eks_dask.helm.values import Masks, merged, read_values, texts


def test_the_later_wins_and_mappings_are_merged():
    first = {"image": {"tag": "1", "name": "app"}, "queues": ["a", "b"], "replicas": 1}
    second = {"image": {"tag": "2"}, "queues": ["c"], "replicas": {"min": 1}}
    assert merged([first, second]) == {
        "image": {"tag": "2", "name": "app"},
        "queues": ["c"],
        "replicas": {"min": 1},
    }
    assert first["image"]["tag"] == "1"


def test_none_takes_a_default_away_and_so_it_stays():
    assert merged([{"probe": {"path": "/"}}, {"probe": None}]) == {"probe": None}
    assert merged([{"probe": None}, {"probe": {"path": "/"}}]) == {"probe": {"path": "/"}}


def test_a_file_is_read_as_helm_reads_it(tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text("day: 2026-11-25\nversion: 1.30\nname: '1.30'\nnothing:\n")
    assert read_values(file) == {"day": "2026-11-25", "version": 1.3, "name": "1.30", "nothing": None}
    file.write_text("")
    assert read_values(file) == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("password: hunter2-hunter2: [", "no YAML, line 1"),
        ("- hunter2-hunter2", "has to hold a mapping, and holds a list"),
        ("x: !!python/object/apply:os.getcwd []", "no YAML"),
    ],
)
def test_a_bad_file_is_told_without_what_it_holds(tmp_path, content, said):
    file = tmp_path / "values.yaml"
    file.write_text(content)
    with pytest.raises(HelmError, match=said) as raised:
        read_values(file)
    assert "hunter2" not in str(raised.value)
    assert str(file) in str(raised.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(HelmError, match=r"none\.yaml can't be read: .*No such file"):
        read_values(tmp_path / "none.yaml")


def test_secrets_are_masked_line_by_line():
    key = "-----BEGIN KEY-----\nabcdefgh\nijklmnop\n-----END KEY-----\n"
    masks = Masks(texts({"tls": {"key": key}, "pins": [123456], "on": True, "list": ["long-secret", "long-secret-2"]}))
    assert masks("a abcdefgh b") == "a *** b"
    assert masks("pin 123456, long-secret-2") == "pin ***, ***"
    assert masks("True") == "True"


def test_texts_too_short_to_be_secret_are_left():
    assert Masks(["", "a", "on"])("a dragon") == "a dragon"
