"""A small patient, as read and as prepared."""

import numpy as np
from scipy import ndimage

from data_cohorts import AFFINE, SHAPE, boxes, head, visits
from lesionloss.data.preparation.case_state import finish_preparation, start_preparation
from lesionloss.data.preparation.read_case import without_registration
from lesionloss.data.preparation.recipe import make_recipe
from lesionloss.data.preparation.steps import run_steps
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.subject import Subject

FINE = {"steps": ["brain", "resample", "crop", "normalise", "subtract"], "resample": {"spacing_mm": [0.8, 0.8, 1.2]}}


def subject(reference: np.ndarray | None = None) -> Subject:
    images = visits(3, head(), boxes((8, 9, 5)), np.zeros(SHAPE, bool))
    labels = None if reference is None else reference.astype(np.uint8)
    return Subject("a", "p", tuple(image[None].astype(np.float32) for image in images), labels, head(), AFFINE)


def prepared(recipe: dict[str, object], reference: np.ndarray | None = None) -> PreparedCase:
    return finish_preparation(
        run_steps(start_preparation(without_registration(subject(reference))), make_recipe(recipe, "test"))
    )


def smooth(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 1, shape), 1.5).astype(np.float32)
