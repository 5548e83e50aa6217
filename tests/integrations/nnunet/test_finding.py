"""nnU-Net finds a trainer of any loss and seed by its name. test_hippocampus.py has its whole commands."""

import pickle
from pathlib import Path

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

from lesionloss.core.errors import UsageError
from lesionloss.integrations.nnunet.installation import EXTERNAL, trainers_path
from lesionloss.integrations.nnunet.trainers import PairedTrainer


def found_by_nnunet(name: str) -> type | None:
    """As nnU-Net looks in a folder of `nnUNet_extTrainer`; it looks among its own trainers before."""
    return recursive_find_python_class(str(EXTERNAL), name, None, str(EXTERNAL), cleanup_imports_from_base_folder=True)


@pytest.mark.parametrize("name", ["nnUNetTrainerLL_hytver_s1", "nnUNetTrainerLL_focal_gamma_2_0123abcd_s3_e50_i10_v2"])
def test_every_name_is_a_trainer(name: str) -> None:
    found = found_by_nnunet(name)
    assert issubclass(found, PairedTrainer)
    assert issubclass(found, nnUNetTrainer)
    assert found.__name__ == name
    assert found_by_nnunet(name) is found
    assert pickle.loads(pickle.dumps(found)) is found  # noqa: S301  (our own bytes; processes get trainers so)


def test_a_name_that_is_built_wrongly_is_explained() -> None:
    assert found_by_nnunet("nnUNetTrainerOfOthers") is None
    with pytest.raises(UsageError, match="nnUNetTrainerLL_hytver: expected nnUNetTrainerLL_LOSS_sSEED"):
        found_by_nnunet("nnUNetTrainerLL_hytver")


def test_trainers_of_the_user_stay_behind_ours(tmp_path: Path) -> None:
    once = trainers_path({"nnUNet_extTrainer": str(tmp_path)})
    assert once == f"{EXTERNAL}:{tmp_path}"
    assert trainers_path({"nnUNet_extTrainer": once}) == once


def test_the_folder_holds_nothing_but_the_module() -> None:
    """nnU-Net imports every module in it."""
    assert [path.name for path in EXTERNAL.glob("*.py")] == ["lesionloss_trainers.py"]
