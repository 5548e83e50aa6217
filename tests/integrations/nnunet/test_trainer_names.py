"""Names of trainers say which loss, seed and lengths, and nothing that is not built so is a name."""

import pytest

from lesionloss.core.errors import UsageError
from lesionloss.integrations.nnunet.trainer_names import TrainerName, parse_trainer_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nnUNetTrainerLL_hytver_s1", TrainerName("hytver", 1)),
        ("nnUNetTrainerLL_dice_ce_s0_e50", TrainerName("dice_ce", 0, 50)),
        ("nnUNetTrainerLL_dice_s12_e5_i10_v2", TrainerName("dice", 12, 5, 10, 2)),
        ("nnUNetTrainerLL_mine_s3_s4_v2", TrainerName("mine_s3", 4, None, None, 2)),
    ],
)
def test_a_name_is_read_as_it_is_written(text: str, name: TrainerName) -> None:
    assert parse_trainer_name(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text", ["hytver_s1", "hytver", "hytver_s", "hytver_s1_e0", "hytver_s1_i2_e3", "hy-tver_s1", "hytver__s1", "a\n_s1"]
)
def test_another_name_is_explained(text: str) -> None:
    name = text if text == "hytver_s1" else f"nnUNetTrainerLL_{text}"
    with pytest.raises(UsageError, match="expected nnUNetTrainerLL_LOSS_sSEED, such as nnUNetTrainerLL_hytver_s1"):
        parse_trainer_name(name)
