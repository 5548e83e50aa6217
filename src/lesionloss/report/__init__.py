"""The page: one self-contained HTML file about a run, with its tables and figures beside it."""

from collections.abc import Sequence
from pathlib import Path

from lesionloss.core.errors import UsageError
from lesionloss.core.files import write_text
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
    workers: int = 1,
) -> Path:
    """Write the report of a run and give the path of the page, RUN/report.html unless another is named.

    `volumes`: which cases can be turned and re-thresholded in the page (about 1 MB each): `worst`, `median`, `best`,
    `all`, `none`, a number (so many, evenly from the worst to the best) or names, with commas between them; the others
    are pictures. `formats`: of figures, beside SVG. `workers`: processes; more than one start Python anew, so that a
    script which asks for them needs `if __name__ == "__main__"`. RUN/report.html, RUN/report.json, RUN/tables and
    RUN/figures are the report's own and are written anew. Another existing file at `path` is kept, unless a report
    wrote it or `force` is set. Raises UsageError then, DataError for a damaged run.
    """
    from lesionloss.report.page import render
    from lesionloss.report.workers import help_of

    out = Path(path) if path is not None else results.folder / "report.html"
    _refuse_to_overwrite(out, own=path is None, force=force)
    with help_of(workers) as help:
        html = render(results, volumes, formats, help)
    write_text(out, html)
    return out


def _refuse_to_overwrite(out: Path, *, own: bool, force: bool) -> None:
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name an HTML file, for example {out / 'report.html'}")
    if own or force or not out.exists():
        return
    with out.open(encoding="utf-8", errors="replace") as handle:
        if GENERATOR not in handle.read(2000):
            raise UsageError(f"{out} exists and no report wrote it; choose another --out, or --force to overwrite it")


__all__ = ["write_report"]
