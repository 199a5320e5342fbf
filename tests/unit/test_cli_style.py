"""All commands look and behave alike."""

from __future__ import annotations

import argparse
import re

import pytest
from airflow.cli.cli_parser import get_parser

from airflow_eks_dask.cli.definition import get_cli_commands

COMMANDS = {command.name: command for group in get_cli_commands() for command in group.subcommands}
WITHOUT_OUTPUT = {
    "demo": "shows its progress",
    "dashboard": "stays until Ctrl-C",
    "token": "always prints what kubectl reads",
}
EXIT_CODES = re.compile(r"\. Exit codes: 0 [a-z][^.,]*, 1 failed[^.,]*, 2 bad usage\.$")


def parser(name):
    """Return a command's parser, as ``airflow`` makes it."""
    found = get_parser()
    for word in ("eks-dask", name):
        (subparsers,) = (each for each in found._actions if isinstance(each, argparse._SubParsersAction))
        found = subparsers.choices[word]
    return found


def arguments(name):
    return [action for action in parser(name)._actions if not isinstance(action, argparse._HelpAction)]


@pytest.mark.parametrize("name", COMMANDS)
def test_its_help_is_one_line_that_says_what_it_does(name):
    text = COMMANDS[name].help

    assert re.fullmatch(r"[A-Z][^.\n]{10,90}[^.\s]", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_its_description_says_more_and_names_the_exit_codes(name):
    text = COMMANDS[name].description

    assert text[0].isupper()
    assert EXIT_CODES.search(text), text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_argument_is_explained(name):
    for action in arguments(name):
        assert action.help, action.dest
        assert action.help[0].isupper(), action.help
        # Airflow's own options have one.
        assert not action.help.endswith(".") or action.dest == "verbose", action.help
        # rich, with which Airflow prints it, would take brackets for markup.
        assert "[" not in action.help, action.help


@pytest.mark.parametrize("name", COMMANDS)
def test_each_value_has_a_name_in_capitals_or_choices(name):
    for action in arguments(name):
        if action.nargs != 0:
            assert action.choices or re.fullmatch(r"[A-Z][A-Z_/]*", action.metavar or ""), action.dest


@pytest.mark.parametrize("name", COMMANDS)
def test_a_default_is_told(name):
    for action in arguments(name):
        if action.option_strings and action.nargs != 0 and not action.required:
            assert "default" in action.help.lower(), action.dest


@pytest.mark.parametrize("name", COMMANDS)
def test_it_prints_for_people_or_programs(name):
    (output,) = [action for action in arguments(name) if action.dest == "output"] or [None]
    if name in WITHOUT_OUTPUT:
        assert output is None
        return
    assert output.option_strings == ["-o", "--output"]
    assert tuple(output.choices) == ("table", "json")
    assert output.default == "table"


@pytest.mark.parametrize("name", COMMANDS)
def test_words_that_make_no_sense_end_it_with_two(name, capsys):
    with pytest.raises(SystemExit) as end:
        get_parser().parse_args(["eks-dask", name, "--no-such-option"])

    assert end.value.code == 2
    assert "error" in capsys.readouterr().err


FAILING = {
    "certs": (["--directory", "/nowhere/at/all", "--check"], 1),
    "dashboard": (["--account", "no-namespace"], 2),
    "demo": (["--directory", "/proc/nowhere"], 1),
    "drain": (["worker", "--address", "tcp://10.0.0.1:8786"], 1),
    "kubeconfig": (["--cluster", "c", "--file", "/etc/passwd"], 2),
    "status": (["--address", "nonsense"], 1),
    "token": (["--cluster", "c", "--aws-conn-id", "absent"], 1),
    "workers": (["--address", "tcp://10.0.0.1:8786"], 1),
}
"""What makes a command fail at once, and its exit code."""


@pytest.mark.parametrize("name", FAILING)
def test_errors_go_to_standard_error_after_the_commands_name(name, capsys, monkeypatch):
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite://")
    words, code = FAILING[name]
    args = get_parser().parse_args(["eks-dask", name, *words])

    with pytest.raises(SystemExit) as end:
        args.func(args)

    printed = capsys.readouterr()
    assert end.value.code == code
    assert printed.err.splitlines()[-1].startswith(f"airflow eks-dask {name}: ")
    assert "Traceback" not in printed.err
