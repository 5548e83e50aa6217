"""The report: one self-contained HTML page about a run, with its tables and figures beside it."""

import errno
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lesionloss.core.errors import UsageError, expect_type
from lesionloss.core.files import atomic_files, write_text
from lesionloss.report.embedded_cases import DEFAULT
from lesionloss.runs.results import Results

FORMATS = ("pdf", "png")
GENERATOR = '<meta name="generator" content="lesionloss report">'


def write_report(
    results: Results,
    path: str | Path | None = None,
    *,
    force: bool = False,
    volumes: str | int = DEFAULT,
    formats: Sequence[str] = FORMATS,
    jobs: int = 1,
) -> Path:
    """Write the report of a run.

    RUN/report.html, report.json, tables and figures are always written anew. With a `path` such as here/page.html,
    report.json, tables and figures go to the folder here/page_files. An error leaves all files as they were.

    Args:
        results: A run, from `lesionloss.load`.
        path: The page; RUN/report.html if None.
        force: Whether to overwrite an existing file at `path` that no report wrote.
        volumes: The cases in the viewer of the page (about 1 MB each): `worst`, `median`, `best`, `all`, `none`, a
            number (spread evenly from the worst to the best) or names, with commas between them. All cases are shown
            as small pictures.
        formats: Formats of the figures beside SVG.
        jobs: The number of processes. More than one start Python anew, so a script that asks for them needs
            `if __name__ == "__main__"`.

    Returns:
        The path of the page.

    Raises:
        UsageError: `path` is a folder or a file that no report wrote, its folder can't be written to, or `volumes`
            names no case.
        DataError: A file of the run is damaged.
    """
    from lesionloss.report.page import render
    from lesionloss.report.workers import report_workers

    expect_type(results, Results, "results", "pass lesionloss.load(folder)")
    out = Path(path) if path is not None else results.folder / "report.html"
    _refuse_to_overwrite(out, own=path is None, force=force)
    _require_writable(out)
    with atomic_files(out.parent, last=out.name) as folder, report_workers(jobs) as helpers:
        page = folder / out.name
        files = files_folder(page, own=path is None)
        write_text(page, render(results, files, volumes, formats, helpers))
    return out


def write_joint_report(runs: Sequence[Results], path: str | Path, *, force: bool = False) -> Path:
    """Write one page with one table over several runs, with CSV and LaTeX.

    report.json and tables go to a folder beside the page: here/page_files for here/page.html.

    Args:
        runs: Two runs or more, each from `lesionloss.load`.
        path: The page.
        force: Whether to overwrite an existing file at `path` that no report wrote.

    Returns:
        The path of the page.

    Raises:
        UsageError: `path` is a folder or a file that no report wrote, or its folder can't be written to.
        DataError: A file of a run is damaged.
    """
    from lesionloss.report.joint_report import render_joint

    for results in runs:
        expect_type(results, Results, "runs", "pass a list of lesionloss.load(folder)")
    out = Path(path)
    _refuse_to_overwrite(out, own=False, force=force)
    _require_writable(out)
    with atomic_files(out.parent, last=out.name) as folder:
        page = folder / out.name
        write_text(page, render_joint(runs, out, files_folder(page, own=False)))
    return out


def files_folder(page: Path, *, own: bool) -> Path:
    """The folder of report.json, tables and figures of a page; `own`: the page is in its run folder."""
    return page.parent if own else page.with_name(f"{page.stem}_files")


def _require_writable(out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise UsageError(
            f"{out.parent} can't be written to ({error.strerror}); name a page elsewhere, --out FILE.html: "
            "all files of the report go there"
        ) from error


def _refuse_to_overwrite(out: Path, *, own: bool, force: bool) -> None:
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name an HTML file, for example {out / 'report.html'}")
    if own or force or not out.exists():
        return
    with out.open(encoding="utf-8", errors="replace") as handle:
        if GENERATOR not in handle.read(2000):
            raise UsageError(f"{out} exists and no report wrote it; choose another --out, or --force to overwrite it")


__all__ = ["write_joint_report", "write_report"]
