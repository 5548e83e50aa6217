import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from lesionloss.bench.cohort import RunCohort
from lesionloss.bench.plan import Plan, presets
from lesionloss.bench.trials import fold_warnings, folds_of, trials_of
from lesionloss.data.splits import save_folds
from lesionloss.errors import DataError, UsageError

GOOD = """
name = "mine"
losses = ["dice", "hytver(fn=0.8)"]
baseline_loss = "dice"
folds = 2
seeds = [1, 2]
"""


def load(tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return Plan.load(path)


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_a_valid_plan_that_survives_writing(name: str, tmp_path: Path) -> None:
    plan = Plan.preset(name)
    assert load(tmp_path, plan.to_toml()) == plan
    assert len(plan.losses) >= 4
    assert plan.question


def test_losses_are_kept_in_canonical_form(tmp_path: Path) -> None:
    plan = load(tmp_path, GOOD.replace("hytver(fn=0.8)", " hytver( fn = 0.8 ) "))
    assert plan.losses[1] == "hytver(fn=0.8)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("steps = 3\n", "unknown key steps; did you mean"),
        ("[training]\nstep = 3\n", "unknown key training.step; did you mean 'steps'"),
        ("[training]\nsteps = 0\n", "training.steps: Input should be greater than or equal to 1, got 0"),
        ("[training]\npatch = [30, 32, 32]\n", "training.patch: unet3d needs sides that are multiples of 8"),
        ('[training]\nprecision = "half"\n', "training.precision: must be one of auto, float32, bf16"),
        ('[network]\ntext = "unet3d(filter=2)"\n', "network.text: network 'unet3d' has no parameter 'filter'"),
        ('metrics = ["dice", "dicee"]\n', "no metric is named 'dicee'; did you mean 'dice'"),
        ('primary_metric = "hd95"\nmetrics = ["dice"]\n', "primary_metric 'hd95' is not one of metrics"),
        ("folds = 1\n", "folds"),
    ],
)
def test_a_wrong_plan_names_the_key_and_what_is_allowed(change: str, message: str, tmp_path: Path) -> None:
    text = GOOD + change if not change.startswith("folds") else GOOD.replace("folds = 2", "folds = 1")
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)
    assert "plan.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_and_repeated_losses(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"losses.1: no loss is named 'hytverr'; did you mean 'hytver'"):
        load(tmp_path, GOOD.replace("hytver(fn=0.8)", "hytverr"))
    with pytest.raises(UsageError, match="losses names dice twice"):
        load(tmp_path, GOOD.replace("hytver(fn=0.8)", " dice"))
    with pytest.raises(UsageError, match="baseline_loss 'focal' is not one of losses"):
        load(tmp_path, GOOD.replace('baseline_loss = "dice"', 'baseline_loss = "focal"'))


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("folds = 2", "folds = 0").replace('name = "mine"', "") + "[data]\nsourse = 'x'\n"
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    for part in ("name: missing", "folds:", "unknown key data.sourse; did you mean 'source'"):
        assert part in str(caught.value)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no plan .*absent.toml; give a TOML file or one of the presets"):
        Plan.load(tmp_path / "absent.toml")
    with pytest.raises(UsageError, match="is not valid TOML"):
        load(tmp_path, "name = ")
    with pytest.raises(UsageError, match="no preset is named 'quickstrat'; did you mean 'quickstart'"):
        Plan.preset("quickstrat")


def test_a_changed_plan_is_checked_again(tmp_path: Path) -> None:
    plan = load(tmp_path, GOOD)
    assert plan.changed({"seeds": [7]}).seeds == (7,)
    with pytest.raises(UsageError, match="no loss is named 'dicee'"):
        plan.changed({"losses": ["dice", "dicee"]})


def test_the_plan_is_plain_toml() -> None:
    record = tomllib.loads(Plan.preset("quickstart").to_toml())
    assert record["training"]["patch"] == [32, 32, 32]


def patients(names: str) -> RunCohort:
    cases = tuple(SimpleNamespace(name=f"case-{name}", patient=name) for name in names)
    return RunCohort("set", "lesion", {name: float(index) for index, name in enumerate(names)}, cases)


def test_folds_come_from_the_file_that_the_plan_names(tmp_path: Path) -> None:
    made = folds_of(load(tmp_path, GOOD), patients("abcdef"))
    save_folds(made[::-1], tmp_path / "folds.json")
    taken = load(tmp_path, f'folds_file = "{tmp_path}/folds.json"\n{GOOD}')
    assert folds_of(taken, patients("abcdef")) == made[::-1]
    trials = trials_of(taken, patients("abcdef"), "cpu")
    assert {name for trial in trials if trial.fold == 0 for name in trial.test} == {f"case-{p}" for p in made[1].test}
    with pytest.raises(UsageError, match=r"folds\.json: holds 2 folds, the plan says folds = 3"):
        folds_of(taken.model_copy(update={"folds": 3}), patients("abcdef"))
    with pytest.raises(DataError, match=r"folds\.json, fold 0.*no patient or case is named"):
        folds_of(taken, patients("abcde"))


def test_a_list_of_validation_cases_is_one_fold(tmp_path: Path) -> None:
    (tmp_path / "val.list").write_text("a\ncase-b\n")
    plan = load(tmp_path, f'folds_file = "{tmp_path}/val.list"\n{GOOD.replace("folds = 2", "folds = 1")}')
    (fold,) = folds_of(plan, patients("abcd"))
    assert (fold.train, fold.test) == (("c", "d"), ("a", "b"))
    assert fold_warnings(plan, patients("abcd")) == ()


def test_patients_that_a_file_of_folds_forgets_are_named(tmp_path: Path) -> None:
    save_folds(folds_of(load(tmp_path, GOOD), patients("abcd")), tmp_path / "folds.json")
    plan = load(tmp_path, f'folds_file = "{tmp_path}/folds.json"\n{GOOD}')
    assert any(
        warning.endswith("neither trained on nor tested: e") for warning in fold_warnings(plan, patients("abcde"))
    )


def test_the_plan_declares_the_test(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).test == "sign_flip"
    assert load(tmp_path, f'test = "signed_rank"\n{GOOD}').test == "signed_rank"
    with pytest.raises(UsageError, match="test: no test is named 'signed'; did you mean"):
        load(tmp_path, f'test = "signed"\n{GOOD}')
