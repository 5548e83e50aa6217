"""What a user sees first: the screen of `lesionloss` alone, and the help of each command."""

import ast
import functools
import importlib
import inspect
import itertools
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from lesionloss.cli import app, panels
from lesionloss.cli.commands import laid_out
from lesionloss.cli.start_screen import START

FEW = 6  # options that need no groups


def commands_of(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, found in group.commands.items():
        if isinstance(found, TyperGroup):
            yield from commands_of(found, (*words, name))
        else:
            yield (*words, name), found


COMMANDS: dict[tuple[str, ...], TyperCommand] = dict(commands_of(get_command(app)))
each_command = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


@functools.cache
def help_of(*words: str) -> str:
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}, color=False)
    assert shown.exit_code == 0
    return shown.stdout


@each_command
def test_a_help_fits_80_columns_and_shows_every_option_in_full(words: tuple[str, ...]) -> None:
    text = help_of(*words)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    shown = text.split()
    for parameter in COMMANDS[words].params:
        assert all(name in shown for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-"))


@each_command
def test_options_stand_in_groups(words: tuple[str, ...]) -> None:
    options = [each for each in COMMANDS[words].params if each.opts[0].startswith("-")]
    headings = {getattr(option, "rich_help_panel", None) for option in options}
    assert headings <= {*panels.OPTIONS, None}
    if len(options) > FEW:
        assert None not in headings, words
        assert len(headings) > 1
        text = help_of(*words)
        places = [text.index(f"─ {heading} ─") for heading in panels.OPTIONS if heading in headings]
        assert places == sorted(places)


def examples_of(words: tuple[str, ...]) -> list[str]:
    """The commands among the examples, as a shell reads them."""
    text = help_of(*words).split("Examples\n\n")[1].split("\n Layouts:")[0]
    lines = text.replace("\\\n", "").splitlines()
    return [line.partition("   # ")[0] for line in lines if line.strip() and not line.strip().startswith("# ")]


@each_command
def test_every_command_has_examples_with_options_that_it_has(words: tuple[str, ...]) -> None:
    own = [
        line
        for line in examples_of(words)
        if f"lesionloss {' '.join(words)}" in line.replace("--with my_losses.py ", "")
    ]
    assert own
    known = {name for each in COMMANDS[words].params for name in (*each.opts, *each.secondary_opts)}
    for line in own:
        typed = itertools.takewhile(lambda word: word not in ("--", ">", ";"), shlex.split(line, comments=True))
        assert {word for word in typed if word.startswith("--")} <= {*known, "--with"}, line


def test_a_long_example_goes_on_in_the_next_line_as_a_shell_reads_it() -> None:
    line = 'lesionloss bench plan.toml --loss "0.5*dice + 0.5*focal(gamma=2)" --out /a/long/way/to/the/folder --jobs 2'
    shown = laid_out(f"{line}   # a remark\n{line[:30]}   # short")
    assert shlex.split(shown.splitlines()[1] + "\n" + shown.splitlines()[2]) != shlex.split(line)
    assert shlex.split(shown.split("\n", 1)[1].rsplit("\n", 1)[0].replace("\\\n", "")) == shlex.split(line)
    assert shown.splitlines()[0] == "  # a remark"
    assert shown.splitlines()[-1] == f"  {line[:30]}   # short"


def test_the_program_alone_shows_what_to_do_first(cli: Any) -> None:
    code, out, err = cli()
    assert (code, out, err) == (0, START, "")
    assert max(map(len, START.splitlines())) <= 80
    lines = [line.strip().partition("   ")[0] for line in START.splitlines() if line.startswith("  lesionloss")]
    assert len(lines) >= 8
    for line in lines:
        name, *rest = shlex.split(line)[1:]
        known = {option for each in COMMANDS[(name,)].params for option in each.opts}
        assert {word for word in rest if word.startswith("--")} <= known


def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def _used(module: str, name: str) -> list[ast.AST]:
    """A function and those of its module that it calls, and what the module imports at its top."""
    functions = {each.name: each for each in _tree(module).body if isinstance(each, ast.FunctionDef | ast.ClassDef)}
    used: dict[str, ast.AST] = {}
    waiting = [name]
    while waiting:
        found = waiting.pop()
        used[found] = functions[found]
        called = {node.id for each in used.values() for node in ast.walk(each) if isinstance(node, ast.Name)}
        waiting = sorted(called & functions.keys() - used.keys())
    return [*used.values(), *(each for each in _tree(module).body if isinstance(each, ast.ImportFrom))]


def prints_tables(module: str, name: str) -> bool:
    """Whether a command can print a table of rich's: by itself or by a module of the command line that it imports."""
    nodes, seen = _used(module, name), {module}
    while nodes:
        imports = [node for each in nodes for node in ast.walk(each) if isinstance(node, ast.ImportFrom)]
        if any(node.module == "rich.table" and "Table" in {each.name for each in node.names} for node in imports):
            return True
        new = {node.module for node in imports if (node.module or "").startswith("lesionloss.cli.")} - seen
        seen |= new
        nodes = [_tree(each) for each in new]
    return False


def test_every_command_that_prints_a_table_prints_json_too() -> None:
    places = {words: inspect.unwrap(found.callback) for words, found in COMMANDS.items()}
    with_tables = {words for words, found in places.items() if prints_tables(found.__module__, found.__name__)}
    with_json = {words for words, found in COMMANDS.items() if any("--json" in each.opts for each in found.params)}
    assert {("losses",), ("check",), ("bench",), ("compare",), ("evaluate",), ("self-check",)} <= with_tables
    assert with_tables - with_json == set()
    assert ("report",) not in with_tables


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell: str, tmp_path: Path) -> None:
    asked = {"_TYPER_COMPLETE_ARGS": "lesionloss ver", "COMP_WORDS": "lesionloss ver", "COMP_CWORD": "1"}
    kind = {"_LESIONLOSS_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    code = "import sys; sys.argv = ['lesionloss']; from lesionloss.__main__ import main; main()"
    ran = subprocess.run([sys.executable, "-c", code], env=os.environ | asked | kind, capture_output=True, text=True)
    assert "verify" in ran.stdout
    assert "bench" not in ran.stdout
