"""Colours, marks and curves: losses differ for the colour-blind too."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

import lesionloss as ll
from lesionloss.core.palette import (
    CLASSES,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    OUTLINE,
    PROBABILITY,
    TRUE_POSITIVE,
    WRONG_CLASS,
)
from lesionloss.report.history import epoch_bands
from lesionloss.report.loss_styles import MARK_SHAPES, choose_styles
from make_run import TINY_CASES, Made, make_run, with_epochs

TINY: dict[str, Any] = {"metrics": ("dice",)} | TINY_CASES
# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
EYES: dict[str, list[list[float]]] = {
    "all cones": np.eye(3).tolist(),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
THIRTEEN = tuple(f"tversky(fn={n / 20})" for n in range(1, 14))
JUST_NOTICEABLE = 2.3  # CIE 1976: the smallest difference of colours that is visible side by side


def as_seen(colour, eye):
    """CIE L*a*b* of `#rrggbb` as the eye sees it."""
    levels = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(EYES[eye]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.maximum(to_xyz @ seen / [0.9505, 1, 1.089], 1e-6))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    made = Made(patients=2, losses=THIRTEEN, folds=1, seeds=(1,), **TINY)
    return choose_styles(ll.load(make_run(tmp_path_factory.mktemp("looks") / "run", made)))


@pytest.mark.parametrize("eye", EYES)
def test_thirteen_losses_differ_in_colour_or_mark(chosen, eye):
    assert len(chosen) == 14
    for one, other in combinations(chosen.values(), 2):
        apart = np.linalg.norm(as_seen(one.colour, eye) - as_seen(other.colour, eye))
        assert (one.mark != other.mark) if one.colour == other.colour else apart > 6 * JUST_NOTICEABLE
    assert {style.mark for style in chosen.values()} <= set(MARK_SHAPES)


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("colours", [(TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE, WRONG_CLASS), CLASSES])
def test_errors_and_classes_differ(eye, colours):
    for one, other in combinations(colours, 2):
        assert np.linalg.norm(as_seen(one, eye) - as_seen(other, eye)) > 6 * JUST_NOTICEABLE


@pytest.mark.parametrize("eye", EYES)
def test_probabilities_get_lighter_and_differ_from_the_outline(eye):
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    colours = [as_seen(to_hex(colormaps[PROBABILITY](level)), eye) for level in np.linspace(0, 1, 51)]
    assert all(np.diff([colour[0] for colour in colours]) > 0)
    assert min(np.linalg.norm(colour - as_seen(OUTLINE, eye)) for colour in colours) > 12 * JUST_NOTICEABLE


def test_curves_over_epochs_go_from_patches_to_test_images(tmp_path):
    made = Made(patients=2, losses=("dice_ce", "dice"), difference=False, folds=2, seeds=(1,), **TINY)
    splits = {"test": 0.5, "train_images": 0.7, "train_patches": 0.9}
    folder = with_epochs(make_run(tmp_path / "run", made), splits)
    results = ll.load(folder)
    bands = [band for band in epoch_bands(results) if band.loss == "dice"]
    assert [band.split for band in bands] == ["train_patches", "train_images", "test"]
    for band in bands:  # patches without lesions are not in the mean
        assert band.place == (1.0, 2.0, 3.0, 4.0)
        assert band.mean == pytest.approx([splits[band.split] * epoch / 4 for epoch in range(1, 5)])
        assert band.trials == 2
