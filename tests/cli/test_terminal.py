"""Names and texts from outside are printed as they are: neither markup nor emoji nor control codes, by any command."""

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text
from typer.main import get_command

from data_cohorts import boxes, save
from lesionloss.cli import app, terminal
from lesionloss.cli.progress import TerminalWatcher
from make_run import TINY_CASES, Made, make_run

ROOMS = Path(terminal.__file__).parents[1]
OTHER_WAYS = re.compile(
    r"typer\.(echo|secho|confirm|prompt)|\b(Console|TextColumn)\(|(?<![\w.])(?<!def )print\(|rich\.markup"
)
ODD = ("[anna]", "ben[/]", "[bold]c[/bold]", ":smile:", "d\x1b[31m", "e\u202ee", "f\x9b1m", "[link=http://x]g")
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

parts = st.one_of(
    st.sampled_from(["[", "]", "[/]", "[red]", "\\", ":smile:", "\x1b[2J", "\r", "\n", "\udcff"]), st.text(max_size=5)
)
texts = st.lists(parts, min_size=1, max_size=6).map("".join)


def test_only_one_module_writes_to_the_terminal() -> None:
    modules = [path for path in ROOMS.rglob("*.py") if path.name not in ("terminal.py", "write_stub.py")]
    assert len(modules) > 100
    for path in modules:
        found = OTHER_WAYS.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path} has {found and found.group()}; use lesionloss.cli.terminal"


@given(text=texts)
@settings(max_examples=40, deadline=None)
def test_any_text_is_shown_as_it_is(text: str) -> None:
    with redirect_stdout(io.StringIO()) as out:
        terminal.say(text)
        terminal.say(text, colour="red")
    assert out.getvalue() == 2 * f"{terminal.visible(text)}\n"
    line = terminal.one_line(text)
    assert line.isprintable() or not UNSEEN.search(line)
    with redirect_stdout(io.StringIO()) as out:
        console = terminal.plain_console(width=400)
        table = Table(line, title=line)
        table.add_row(line)
        table.add_row(Text(line))
        console.print(table)
        console.print(line)
        console.print(Text(text), table.columns[0], text)
    words = [word for word in line.split() if len(word) < 100]
    assert all(out.getvalue().count(word) >= 4 for word in words)
    assert not UNSEEN.search(out.getvalue())


@pytest.mark.parametrize("name", ODD)
def test_bars_show_names_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "150")
    with redirect_stderr(io.StringIO()) as shown, TerminalWatcher(name) as watcher:
        watcher.cohort(name, 1, 3)
        watcher.note(f"{name} is read")
        watcher.progress.refresh()
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]|\r", "", shown.getvalue())
    assert f"{terminal.visible(name)} is read" in plain
    assert plain.count(terminal.visible(name)) >= 2
    assert not UNSEEN.search(plain)


def assert_shown(printed: str, names: tuple[str, ...] = ()) -> None:
    assert not UNSEEN.search(printed)
    assert "Traceback" not in printed
    for name in names:
        assert terminal.visible(name) in printed, name


def test_patients_with_odd_names(cli: Any, tmp_path: Path) -> None:
    brain = np.random.default_rng(0).normal(100, 9, (22, 24, 14)).astype(np.float32)
    rows = ["patient,visit1,visit2,reference"]
    for number, name in enumerate(ODD):
        save(tmp_path / f"{number}a.nii.gz", brain + number)
        save(tmp_path / f"{number}b.nii.gz", brain + number + boxes((8, 9, 5)))
        save(tmp_path / f"{number}r.nii.gz", boxes((8, 9, 5)).astype(np.uint8))
        rows.append(f"{name},{number}a.nii.gz,{number}b.nii.gz,{number}r.nii.gz")
    (tmp_path / "odd.csv").write_text("\n".join(rows), encoding="utf-8")
    code, out, err = cli("data", tmp_path / "odd.csv")
    assert_shown(out + err, ODD if code == 0 else ())
    code, out, err = cli("prepare", tmp_path / "odd.csv", tmp_path / "prepared", "--layout", "csv")
    assert_shown(out + err)


def test_files_with_odd_names(cli: Any, tmp_path: Path) -> None:
    names = tuple(name.replace("/", "") for name in ODD)
    for name in names:
        for folder in ("[predicted]", "reference[]"):
            (tmp_path / folder).mkdir(exist_ok=True)
            save(tmp_path / folder / f"{name}.nii.gz", boxes((8, 9, 5)).astype(np.uint8))
    save(tmp_path / "reference[]" / "[only].nii.gz", boxes((8, 9, 5)).astype(np.uint8))
    code, out, err = cli("evaluate", tmp_path / "[predicted]", tmp_path / "reference[]", "--matched-only")
    assert_shown(out + err)
    (tmp_path / "reference[]" / f"{names[4]}.nii.gz").write_bytes(b"no image")
    code, out, err = cli("evaluate", tmp_path / "[predicted]", tmp_path / "reference[]", "--matched-only")
    assert code == 1
    assert_shown(out + err, (names[4],))


def test_runs_with_odd_names(cli: Any, tmp_path: Path) -> None:
    losses = ("dice_ce", "[bold]odd[/bold]", "x\x1b[31m[/]")
    made = Made(
        patients=4,
        losses=losses,
        names=dict(enumerate(name.replace("/", "") for name in ODD[:4])),
        failed=((losses[1], 1, 2),),
        metrics=("dice",),
        **TINY_CASES,
    )
    run = make_run(tmp_path / "run [red]", made)
    for words in (["compare", run], ["power", run, "--difference", "0.01"]):
        code, out, err = cli(*words)
        assert code == 0, err
        assert_shown(out + err, losses[1:])
    code, out, err = cli("bench", "--status", run)  # this run has no list of trials
    assert code == 2
    assert_shown(out + err, ("run [red]",))


def test_losses_with_odd_titles(cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "[my] losses.py"
    file.write_text(
        "from lesionloss import Voxels, loss\n"
        '@loss("cited_oddly", source="me [/sic]")\n'
        "def cited(v: Voxels):\n"
        '    """Cited: Dice [as in Smith 2020] with a twist [/sic]."""\n'
        "    c = v.counts(); return 1 - (c.tp + v.eps) / (c.tp + c.fn + c.fp + v.eps)\n"
    )
    for words in (["losses"], ["losses", "cited_oddly"], ["explain", "cited_oddly"]):
        code, out, err = cli("--with", file, *words)
        assert code == 0, err
        assert_shown(out + err, ("[as in Smith 2020] with a twist [/sic]",) if words[0] == "losses" else ())


@pytest.mark.parametrize("command", sorted(vars(get_command(app))["commands"]))
def test_a_mistake_with_an_odd_name_is_one_line(command: str, cli: Any) -> None:
    for name in ("[/]x\x1b[31m", "[red]\ny"):
        code, out, err = cli(command, name, name)
        assert code not in (0, None)
        assert not UNSEEN.search(out + err)
        own = [line for line in err.splitlines() if line.startswith("lesionloss: ")]
        assert len(own) <= 1
        assert not own or len(err.splitlines()) == 1
