"""WMH 2017: white-matter hyperintensities of presumed vascular origin (Kuijf et al., IEEE TMI 2019).

The bias-corrected images under `pre`, where both contrasts share a grid. Value 2 of the reference marks other pathology
and is ignored: neither lesion nor background. Cases are named by their folders below the site: `Utrecht_0`,
`Amsterdam_GE3T_100`.
"""

from collections.abc import Iterator
from pathlib import Path

from lesionloss.data.layouts.find_files import ExpectedFiles, collect_cases, folders_in, image_file
from lesionloss.data.layouts.records import FoundCases, LabelRule, Layout, LayoutGroup, Target, published

SITES = ("Utrecht", "Singapore", "Amsterdam")
PARTS = ("training", "test")
STEMS = ("FLAIR", "T1")


def _patients(root: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of every patient: below a site, or a site and a scanner, in `root` or in its parts."""
    starts = [root / part for part in PARTS if (root / part).is_dir()] or [root]
    sites = [root] if root.name in SITES else [start / site for start in starts for site in SITES]
    for site in sites:
        for folder in folders_in(site):
            if _is_patient(folder):
                yield f"{site.name}_{folder.name}", folder
            else:
                inner = (each for each in folders_in(folder) if _is_patient(each))
                yield from ((f"{site.name}_{folder.name}_{each.name}", each) for each in inner)


def _is_patient(folder: Path) -> bool:
    return (folder / "pre").is_dir() or (folder / "orig").is_dir() or image_file(folder, "wmh") is not None


def _recognise(root: Path) -> bool:
    return any(True for _ in _patients(root))


def _discover(root: Path) -> FoundCases:
    visits = (tuple(f"pre/{stem}" for stem in STEMS),)
    return collect_cases(ExpectedFiles(name, name, folder, visits, "wmh") for name, folder in _patients(root))


LAYOUT = Layout(
    name="wmh2017",
    title="WMH 2017, white-matter hyperintensities in FLAIR and T1",
    looks_like="[training/|test/]Utrecht/0/{pre/{FLAIR,T1},wmh}.nii.gz (Amsterdam with a folder per scanner)",
    recognise=_recognise,
    discover=_discover,
    targets=(Target("wmh", "white-matter hyperintensities; other pathology is ignored", published),),
    contrasts=("flair", "t1"),
    labels=LabelRule(classes=("wmh",), values=((1, 1),), ignored=(2,)),
    group=LayoutGroup.CROSS_SECTIONAL,
)
