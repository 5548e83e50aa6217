"""A model from a stranger can't name a program that predict runs."""

import pytest

from lesionloss import DataError
from lesionloss.data.preparation.recipe import BRAIN_TOOLS, BrainSettings, PreparationRecipe
from lesionloss.inference.predict.replay_preparation import recipe_of


def test_a_program_that_a_model_names_is_not_run() -> None:
    brain = {"source": "tool", "command": ["sh", "-c", "touch here"], "mask": "{folder}/mask.nii.gz"}
    with pytest.raises(DataError, match=r"names a program to run .* so it is not run"):
        recipe_of({"steps": ["brain", "normalise"], "brain": brain})


@pytest.mark.parametrize("tool", BRAIN_TOOLS.values(), ids=list(BRAIN_TOOLS))
def test_the_known_tools_are_run_with_their_own_words_only(tool: BrainSettings) -> None:
    assert recipe_of(PreparationRecipe(brain=tool).settings()).brain == tool
    other = tool.model_copy(update={"command": (*tool.command, "--model_path", "x.pt")})
    with pytest.raises(DataError, match="not run"):
        recipe_of(PreparationRecipe(brain=other).settings())
