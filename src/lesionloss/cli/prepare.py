"""`lesionloss prepare`: raw visits to a prepared cohort."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import note, say

if TYPE_CHECKING:
    from lesionloss.data.preparation.recipe import PreparationRecipe

ORDER = (
    "orient",
    "register",
    "n4",
    "brain",
    "resample",
    "crop",
    "clip",
    "normalise",
    "scale_to_unit",
    "match",
    "subtract",
)
EXAMPLES = """
lesionloss prepare ~/msseg2 prepared   # crop, z-score, subtract
lesionloss prepare lit:~/lit/raw prepared --register halfway --n4 --jobs 4
lesionloss prepare ~/msseg2 prepared --brain-from hd-bet --spacing 0.5,0.75,0.75
lesionloss prepare ~/msseg2 prepared --print > plan.toml   # a first plan
lesionloss prepare ~/msseg2 prepared --plan plan.toml
"""


@command(
    panel=panels.IMAGES,
    examples=EXAMPLES,
    options={
        panels.DATA: "target",
        panels.STEPS: "plan orient register n4 brain spacing margin",
        panels.MACHINE: "jobs",
        panels.SHOW: "show",
    },
)
def prepare(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder of patients, or LAYOUT:PATH.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the prepared cases; cases in it are kept.")],
    plan: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="Steps, their order and settings; the options below change them."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAME", help="What counts as lesion; default: the layout's first target.")
    ] = None,
    orient: Annotated[
        str | None, typer.Option(metavar="AXES", help="Where the axes run, RAS by default; none keeps the files'.")
    ] = None,
    register: Annotated[
        str | None, typer.Option(metavar="SPACE", help="Rigid registration: halfway, followup or none.")
    ] = None,
    n4: Annotated[bool | None, typer.Option("--n4/--no-n4", help="Correct the bias field (N4).")] = None,
    brain: Annotated[
        str | None,
        typer.Option(
            "--brain-from", metavar="SOURCE", help="Brain mask: auto, given, builtin (a threshold), deepbet or hd-bet."
        ),
    ] = None,
    spacing: Annotated[
        str | None, typer.Option(metavar="MM", help="Voxel size, e.g. 0.5,0.75,0.75; none keeps it.")
    ] = None,
    margin: Annotated[
        int | None, typer.Option(metavar="VOXELS", help="Voxels kept around brain and reference.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cases at once, each on one core.")] = 1,
    show: Annotated[bool, typer.Option("--print", help="Print the whole plan as TOML and stop.")] = False,
) -> None:
    """Prepare raw visits: orient, register, N4, brain mask, resample, crop, normalise, subtract; each is optional.

    A plan can also clip and scale intensities.

    Writes OUT/CASE.npz, OUT/CASE.json (how it was prepared) and OUT/index.json. A case whose files and settings did not
    change is not prepared again; a run that was killed continues where it stopped.
    """
    from lesionloss.cli.progress import progress_bar
    from lesionloss.data.cohort import open_cohort
    from lesionloss.data.preparation.prepare_cohort import prepare_cohort

    recipe = chosen_recipe(plan, register, n4, brain, spacing, margin, orient)
    if show:
        say(recipe.to_toml(), nl=False)
        return
    cohort = open_cohort(source, target)
    with progress_bar() as progress:
        bar = progress.add_task("preparing", total=len(cohort.cases), detail="")

        def step(name: str, done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total, detail=name)

        outcome = prepare_cohort(
            cohort,
            out,
            recipe,
            jobs=jobs,
            progress=step,
            failed=lambda line: say(f"problem: {line}", colour="red", err=True),
        )
    for patient in cohort.incomplete:
        note(f"left out: {patient.name}: {patient.reason}")
    for entry in outcome.index.cases:
        for line in json.loads((out / f"{entry.name}.json").read_text(encoding="utf-8"))["repairs"]:
            say(f"repaired: {line}")
    say(f"{out}: {outcome.prepared} cases prepared, {outcome.unchanged} unchanged")


def chosen_recipe(
    plan: Path | None,
    register: str | None,
    n4: bool | None,
    brain: str | None,
    spacing: str | None,
    margin: int | None,
    orient: str | None = None,
) -> "PreparationRecipe":
    """Apply the options to the plan (or to the default steps).

    Raises:
        UsageError: An option has a value that it can't have.
    """
    from lesionloss.core.catalogue import nearest
    from lesionloss.core.errors import UsageError
    from lesionloss.data.preparation.recipe import BRAIN_TOOLS, PreparationRecipe, load_recipe, make_recipe

    record: dict[str, Any] = (load_recipe(plan) if plan else PreparationRecipe()).model_dump(by_alias=True)
    steps = list(record["steps"])
    if orient is not None:
        _want(steps, "orient", orient != "none")
        record["orient"] = {"to": orient} if orient != "none" else record["orient"]
    if register is not None:
        if register not in ("halfway", "followup", "none"):
            raise UsageError(f"--register: no {register!r}; {nearest(register, ['halfway', 'followup', 'none'])}")
        _want(steps, "register", register != "none")
        record["register"] = {"to": register} if register != "none" else record["register"]
    if n4 is not None:
        _want(steps, "n4", n4)
    if brain is not None:
        known = ["auto", "given", "builtin", *BRAIN_TOOLS]
        if brain not in known:
            raise UsageError(
                f"--brain-from: no {brain!r}; {nearest(brain, known)}; for other programs: brain.command in a plan"
            )
        _want(steps, "brain", True)
        record["brain"] = BRAIN_TOOLS[brain].model_dump() if brain in BRAIN_TOOLS else {"source": brain}
    if spacing is not None:
        _want(steps, "resample", spacing != "none")
        record["resample"] = {"spacing_mm": () if spacing == "none" else _edges(spacing)}
    if margin is not None:
        _want(steps, "crop", True)
        record["crop"] = {"margin_voxels": margin}
    return make_recipe({**record, "steps": tuple(steps)}, str(plan) if plan else "prepare")


def _want(steps: list[str], step: str, wanted: bool) -> None:
    """Put a step in its usual place, or take it out; others keep their order."""
    if not wanted and step in steps:
        steps.remove(step)
    if wanted and step not in steps:
        later = ORDER[ORDER.index(step) + 1 :]
        place = next((index for index, other in enumerate(steps) if other in later), len(steps))
        steps.insert(place, step)


def _edges(text: str) -> tuple[float, ...]:
    from lesionloss.core.errors import UsageError

    try:
        edges = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--spacing: expected millimetres such as 0.5,0.75,0.75, got {text!r}") from error
    if not all(0.05 <= edge <= 50 for edge in edges):
        raise UsageError(f"--spacing: expected edges of 0.05 to 50 mm, got {text!r}; none keeps those of the files")
    if len(edges) not in (2, 3):
        raise UsageError(f"--spacing: expected one number per axis, such as 0.5,0.75,0.75, got {text!r}")
    return edges
