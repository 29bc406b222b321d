"""Help, its examples, and starting."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import ann2neo
from ann2neo.cli import main
from ann2neo.cli.commands import COMMANDS
from ann2neo.cli.run import parser
from ann2neo.summary.kernels import BACKENDS
from helpers.command_line import run

README = Path(__file__).parents[2] / "README.md"


NAMES = [command.name for command in COMMANDS]


def commands_in(text):
    lines = text.replace("\\\n", " ").splitlines()
    commands = [re.sub("^torchrun .* -m ", "", line.strip()) for line in lines]
    return [command for command in commands if command.startswith("ann2neo ")]


@pytest.mark.parametrize("command", NAMES)
def test_help_has_an_example_that_can_be_parsed(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    examples = commands_in(capsys.readouterr().out.split("example:")[1])
    assert examples
    for example in examples:
        assert parser().parse_args(shlex.split(example)[1:]).run is not None


def test_commands_in_the_readme_can_be_parsed():
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)
    examples = [example for block in blocks for example in commands_in(block)]
    assert len(examples) >= 5
    for example in examples:
        assert parser().parse_args(shlex.split(example, comments=True)[1:]).run is not None


def test_without_a_command_help_is_printed(capsys):
    run("")
    out = capsys.readouterr().out
    assert all(command in out for command in NAMES)


def test_wrong_arguments_exit_with_2(capsys):
    for arguments in (["record"], ["sumarize"], ["info", "a", "--bogus"], ["summarize"]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 2


def test_options_are_not_abbreviated(folder, capsys):
    """``--units`` of another command must not be taken for ``--units-table``."""
    with pytest.raises(SystemExit):
        main(["summarize", "r.nwb", "--units", "u.csv"])
    assert "unrecognized arguments: --units u.csv" in capsys.readouterr().err


def test_the_command_is_a_module_that_loads_nothing_heavy():
    code = (
        "import runpy, sys; sys.argv = ['ann2neo', '--version']\n"
        "try: runpy.run_module('ann2neo', run_name='__main__')\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print(sorted({'neo', 'pandas', 'scipy', 'torchvision', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == f"ann2neo {ann2neo.__version__}\n[]\n"


WITHOUT_TORCH = """
import sys
from ann2neo.cli import main
try:
    main({})
except SystemExit:
    pass
print([name for name in ("torch", "numpy", "neo", "pandas", "matplotlib") if name in sys.modules])
"""


@pytest.mark.parametrize(
    "arguments", ["--version", "--help", "record --help", "stream --help", "study --help", "info --help"]
)
def test_help_and_version_need_no_torch(arguments):
    code = WITHOUT_TORCH.format(arguments.split())
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"


def test_the_command_line_knows_all_back_ends(capsys):
    with pytest.raises(SystemExit):
        main(["stream", "--help"])
    assert f"{{{','.join(BACKENDS)}}}" in capsys.readouterr().out
