"""A plan is checked against the data before anything is prepared, and messages name the key."""

from pathlib import Path

import pytest

import miniature
from lesionloss import UsageError
from lesionloss.bench.data_check import check_data
from lesionloss.bench.plan import Plan
from lesionloss.cli.plan_options import chosen_plan
from lesionloss.core.errors import DataError
from lesionloss.data.layouts import layouts
from lesionloss.data.layouts.records import LayoutGroup
from lesionloss.networks import network_channels
from tiny_runs import tiny_plan

WRITERS = {
    name: getattr(miniature, "table" if name == "csv" else name.replace("-", "_"), None) for name in layouts.names()
}
MINIATURES = [name for name, writer in WRITERS.items() if writer is not None]


def printed(preset: str, layout: str, place: Path) -> str:
    """The plan that `--print` prints, after the two edits that README names."""
    text = Plan.preset(preset).to_toml()
    edits = {f'source = "{Plan.preset(preset).data.source}"': 'source = ""', 'layout = ""': f'layout = "{layout}"'}
    for before, after in edits.items():
        assert before in text
        text = text.replace(before, after, 1)
    (place / "plan.toml").write_text(text)
    return str(place / "plan.toml")


@pytest.mark.parametrize("layout", MINIATURES)
def test_the_printed_plan_fits_every_layout(layout: str, tmp_path: Path) -> None:
    WRITERS[layout](tmp_path / "data")
    few = ["folds=2"]  # two patients
    plan = chosen_plan(printed("quickstart", layout, tmp_path), str(tmp_path / "data"), [], few)
    if layouts.get(layout).group is LayoutGroup.PICTURES:
        with pytest.raises(UsageError, match=r"^network\.text: .* is for volumes, the images have 2 axes.*dscpp-drive"):
            check_data(plan)
        plan = chosen_plan(printed("dscpp-drive-small", layout, tmp_path), str(tmp_path / "data"), [], few)
    assert check_data(plan).data == plan.data


def test_built_in_patients_must_be_enough_for_the_folds_and_the_split() -> None:
    plan = Plan.preset("quickstart")
    assert check_data(plan) == plan
    for changes in ({"folds": 13}, {"split": [10, 3]}):
        with pytest.raises(UsageError, match="12"):
            check_data(plan.changed(changes))


def test_a_network_gets_what_the_data_need_unless_its_text_states_it(tmp_path: Path) -> None:
    miniature.nnunet(tmp_path / "data")
    plan = chosen_plan(printed("quickstart", "nnunet", tmp_path), str(tmp_path / "data"), [])
    assert network_channels(check_data(plan).network.text) == (2, 3)
    with pytest.raises(UsageError, match=r"^network\.text: .* takes 5 channels, the data have 2"):
        check_data(plan.changed({"network": {"text": "unet3d(inputs=5)"}}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "old_lesions"}, r'^data\.target: .*no target named .old_lesions.*target = ""'),
        ({"layout": "mseg2"}, r"^data\.layout: no layout is named .mseg2.*msseg2"),
        ({"source": "/nowhere"}, r"^data\.source: /nowhere: no such folder"),
        ({"patients": ["Nobody"]}, r"^data\.patients: no complete patient .Nobody"),
    ],
)
def test_a_message_names_the_key_of_the_plan(data: Path, changes: dict[str, object], message: str) -> None:
    plan = tiny_plan(data)
    assert check_data(plan) == plan
    with pytest.raises(UsageError, match=message):
        check_data(plan.changed({"data": plan.data.model_dump() | changes}))


def test_folds_and_damaged_images_are_found_without_preparing(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folds must be at most the number of patients, 4, got 9"):
        check_data(tiny_plan(data, folds=9))
    miniature.nnunet(tmp_path)
    (tmp_path / "labelsTr" / "MS_000.nii.gz").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"MS_000\.nii\.gz"):
        check_data(tiny_plan(tmp_path, data={"source": str(tmp_path)}))
