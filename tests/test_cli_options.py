"""Groups of options: a command sees the group, its user the options of the fields."""

from dataclasses import fields

import pytest
import typer.main
from typer.testing import CliRunner

from basinbridge.cli import options
from basinbridge.cli.app import app

SLOW = options.Training(learning_rate=0.01)


def taken(command, *arguments):
    """What a command was called with."""
    shell = typer.Typer()
    shell.command()(options.spread(command))
    done = CliRunner().invoke(shell, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output


def test_a_group_is_filled_from_its_options_and_defaults_come_from_the_default_group():
    seen = []

    def command(
        subject: options.Subject, training: options.Training = SLOW, force: options.Force = False
    ) -> None:
        seen.append((subject, training, force))

    taken(command, "--model", "a", "--dataset", "b", "--seed", 3, "--epochs", 7, "--no-augment")
    assert seen == [
        (
            options.Subject("a", "b", seed=3),
            options.Training(epochs=7, learning_rate=0.01, augment=False),
            False,
        )
    ]


def test_fields_without_a_default_are_required():
    def command(subject: options.Subject) -> None:
        raise AssertionError

    shell = typer.Typer()
    shell.command()(options.spread(command))
    done = CliRunner().invoke(shell, ["--model", "a"])
    assert done.exit_code == 2
    assert "--dataset" in done.output


@pytest.mark.parametrize("group", [options.Subject, options.Training, options.Objective])
def test_every_field_says_what_it_is(group):
    for field in fields(group):
        (option,) = field.type.__metadata__
        assert option.help.endswith((".", "..."))


def test_commands_that_share_an_option_mean_the_same_by_it():
    """Of one name there is one help text, wherever the option stands."""
    known = {}
    for name, command in typer.main.get_command(app).commands.items():
        for one in command.params:
            if one.name in ("seed", "device", "threads", "data_root", "objective", "epsilon"):
                assert known.setdefault(one.name, one.help) == one.help, name
    assert len(known) == 6
