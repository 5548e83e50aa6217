"""A model from a stranger can't name a program that predict runs."""

import pytest

from lesionloss import DataError
from lesionloss.data.preparation.recipe import HD_BET, PreparationRecipe
from lesionloss.inference.predict.replay_preparation import recipe_of


def test_a_program_that_a_model_names_is_not_run() -> None:
    brain = {"source": "tool", "command": ["sh", "-c", "touch here"], "mask": "{folder}/mask.nii.gz"}
    with pytest.raises(DataError, match=r"names a program to run .* so it is not run"):
        recipe_of({"steps": ["brain", "normalise"], "brain": brain})
    assert recipe_of(PreparationRecipe(brain=HD_BET).settings()).brain == HD_BET
