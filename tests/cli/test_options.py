"""Options: one value each, checked as it was given."""

from __future__ import annotations

import pytest
import typer.core
from typer.testing import CliRunner

from echobench.cli import app
from echobench.cli.options import variables_of
from echobench.errors import UsageError
from tests.cli.test_help import COMMANDS


def refusal(*arguments: str) -> str:
    """Return the message with which a command line is refused."""
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, UsageError), error
    return str(error)


@pytest.mark.parametrize(
    ("arguments", "repeated"),
    [
        (["run", "--backend", "jax,torch"], "--backend jax --backend torch"),
        (["run", "--backend", "jax, torch,"], "--backend jax --backend torch"),
        (["run", "--engine", "fit,fused"], "--engine fit --engine fused"),
        (["run", "--division", "open,closed"], "--division open --division closed"),
        (["run", "--observe", "tensorboard,mine"], "--observe tensorboard --observe mine"),
        (["run", "--task", "whole[n_in=3,units=4],partial"],
         "--task whole[n_in=3,units=4] --task partial"),
        (["study", "size", "--backend", "jax,torch"], "--backend jax --backend torch"),
        (["table", "--status", "missed,failed"], "--status missed --status failed"),
        (["check", "task", "whole", "--backend", "jax,torch"], "--backend jax --backend torch"),
        (["tune", "--task", "whole", "--fix", "units=4,batch=3"], "--fix units=4 --fix batch=3"),
        (["run", "--plugin", "a.py,b.py"], "--plugin a.py --plugin b.py"),
        (["run", "--env", "HOME,PATH"], "--env HOME --env PATH"),
    ],
)  # fmt: skip # what is typed and what is suggested stand together
def test_several_values_at_once_are_told_how_to_be_given(
    arguments: list[str], repeated: str
) -> None:
    received = arguments[-1]
    expected = f"expected one value; received {received!r}; repeat the option: {repeated}"
    assert refusal(*arguments) == f"{arguments[-2]}: {expected}"


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_repeatable_option_of_names_says_so(names: tuple[str, ...]) -> None:
    for parameter in COMMANDS[names].params:
        if not isinstance(parameter, typer.core.TyperOption) or not parameter.multiple:
            continue
        assert "repeat the option" in refusal(*names, parameter.opts[0], "1,2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--seeds", "-1"], "--seeds: expected 1 or more; received -1"),
        (["run", "--seeds", "-2", "--replicates", "4"],
         "--seeds: expected 1 or more; received -2"),
        (["run", "--seeds", "0", "--replicates", "4"], "--seeds: expected 1 or more; received 0"),
        (["run", "--replicates", "-3"], "--replicates: expected 2 or more; received -3"),
        (["run", "--budget", ""], "--budget: expected a time such as 90s, 10m or 2h; received ''"),
        (["study", "size", "--timeout", ""],
         "--timeout: expected a time such as 90s, 10m or 2h; received ''"),
        (["tune", "--task", "whole", "--engine", ""], "unknown engine ''; known: compiled"),
    ],
)  # fmt: skip # what is typed and what is said of it stand together
def test_what_is_refused_is_named_as_it_was_given(arguments: list[str], message: str) -> None:
    assert refusal(*arguments).startswith(message)


@pytest.mark.parametrize("value", ["granularity=fine,compact", "1,2", "--a=1,--b=2", ""])
def test_a_variable_may_hold_commas(value: str) -> None:
    assert variables_of([f"NAME={value}"]) == {"NAME": value}
    message = refusal("run", "--task", "nothing", "--env", f"NAME={value}")
    assert message.startswith("unknown task 'nothing'")


@pytest.mark.parametrize("text", ["", "=1"])
def test_a_variable_has_a_name(text: str) -> None:
    assert refusal("run", "--env", text) == (
        f"--env: expected NAME or NAME=VALUE; received {text!r}"
    )
