"""Copy the numbers and figures of a finished run beside its page in docs/results.

    python benchmarks/publish.py runs/nuclei-folds docs/results/nuclei --name folds --figures calibration

Tables as CSV, report.json without spaces, figures as small PNG. Of a path on this machine, the last part stays.
"""

import argparse
import json
import re
import shutil
from pathlib import Path

from PIL import Image
from reported_run import reported_run

TABLES = ("summary", "differences", "detection-by-size", "training-runs", "variance")
PICTURE_WIDTH = 1100


def without_paths(text: str, folder: Path) -> str:
    """Take away what only this machine has: the folders before the last part of a path."""
    return re.sub(r'(?<=[ "])/(?:[\w.+-]+/)+', "", text.replace(str(folder), folder.name))


def save_small(source: Path, target: Path) -> None:
    """Write a figure with at most `PICTURE_WIDTH` pixels a row and a palette."""
    picture = Image.open(source).convert("RGB")
    if picture.width > PICTURE_WIDTH:
        picture = picture.resize(
            (PICTURE_WIDTH, round(picture.height * PICTURE_WIDTH / picture.width)), Image.Resampling.LANCZOS
        )
    # other methods break colour scales into bands and lose thin outlines
    small = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    small.save(target, optimize=True)


def main() -> None:
    """Read the arguments, copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=reported_run, help="the run folder, with report.json (lesionloss report RUN)")
    parser.add_argument("out", type=Path, help="the folder beside the page")
    parser.add_argument("--name", required=True, help="first part of the names of the files")
    parser.add_argument("--tables", nargs="*", default=[], help="names of more tables, without .csv")
    parser.add_argument("--figures", nargs="*", default=[], help="names of figures, without .png")
    arguments = parser.parse_args()
    pictures = [arguments.run / "figures" / f"{figure}.png" for figure in arguments.figures]
    if missing := [picture.name for picture in pictures if not picture.is_file()]:
        parser.error(f"{arguments.run / 'figures'} has no {', '.join(missing)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for table in (*TABLES, *arguments.tables):
        source = arguments.run / "tables" / f"{table}.csv"
        if source.is_file():
            shutil.copyfile(source, arguments.out / f"{arguments.name}-{table}.csv")
    report = json.loads((arguments.run / "report.json").read_text())
    text = json.dumps(report, separators=(",", ":"), ensure_ascii=False)
    (arguments.out / f"{arguments.name}-report.json").write_text(without_paths(text, arguments.run.resolve()))
    for picture in pictures:
        save_small(picture, arguments.out / f"{arguments.name}-{picture.name}")


if __name__ == "__main__":
    main()
