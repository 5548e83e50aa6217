"""Run folders for the tests of statistics, each made once."""

from dataclasses import replace
from pathlib import Path

import pytest

import lesionloss as ll
from lesionloss.runs.results import Results
from make_run import SMALL_RUN, TINY_CASES, Made, make_run

LOSSES = ("dice_ce", "dice", "hytver")


@pytest.fixture(scope="package")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Six patients: one without lesions, one with an empty prediction; a failed trial; the difference threshold."""
    made = replace(SMALL_RUN, without_lesions=(4,), empty=(("dice", 1),), failed=(("dice", 0, 2),), difference=True)
    return ll.load(make_run(tmp_path_factory.mktemp("messy") / "run", made))


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients in four folds, three seeds; dice is clearly better."""
    metrics, skill = ("dice", "hd95"), {"dice": 0.6}
    made = Made(patients=8, losses=LOSSES, skill=skill, folds=4, seeds=(1, 2, 3), metrics=metrics, **TINY_CASES)
    return make_run(tmp_path_factory.mktemp("runs") / "run", made)


@pytest.fixture(scope="package")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One seed, one failed trial, no difference threshold."""
    made = Made(
        patients=8,
        losses=LOSSES,
        seeds=(1,),
        difference=False,
        failed=(("hytver", 1, 1),),
        metrics=("dice", "false_positive_lesion_volume_mm3"),
        **TINY_CASES,
    )
    return make_run(tmp_path_factory.mktemp("single") / "run", made)
