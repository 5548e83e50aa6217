"""Plans: what is refused with which message, what is kept in which form, and which trials follow."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lesionloss.bench.plan import Plan, list_presets
from lesionloss.bench.plan.run_folders import store_plan
from lesionloss.bench.run_cohort import RunCohort
from lesionloss.bench.trials import fold_warnings, folds_of, trials_of
from lesionloss.cli.plan_options import chosen_plan
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import sha256_of
from lesionloss.core.user_files import load_user_file
from lesionloss.data.fold_files import save_folds
from lesionloss.losses import registry
from lesionloss.training.trial import flat_record

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


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_is_a_valid_plan_that_survives_writing(name: str, tmp_path: Path) -> None:
    plan = Plan.preset(name)
    assert load(tmp_path, plan.to_toml()) == plan
    assert len(plan.losses) >= 3
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


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("stop_after = 5", "training.stop_after is called patience since 0.2"),
        ("inner_share = 0.2", "training.inner_share is called validation_share since 0.2"),
        ("decay = 0.9", "training.decay is called poly_power since 0.2"),
        ("lesion_share = 1.0", "training.lesion_share is called foreground_share since 0.2"),
    ],
)
def test_a_former_key_is_named_with_its_present_name(former: str, present: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, f"{GOOD}[training]\n{former}\n")
    assert str(caught.value) == f"{tmp_path}/plan.toml: {present}"


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
    cases: Any = tuple(SimpleNamespace(name=f"case-{name}", patient=name) for name in names)
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


def test_a_split_is_one_fold_of_its_sizes(tmp_path: Path) -> None:
    plan = load(tmp_path, f"split = [4, 2]\n{GOOD}")
    assert (plan.folds, plan.split) == (1, (4, 2))
    assert load(tmp_path, plan.to_toml()) == plan
    (fold,) = folds_of(plan, patients("abcdefgh"))
    assert (len(fold.train), len(fold.test)) == (4, 2)
    assert fold_warnings(plan, patients("abcdefgh")) == ("split = [4, 2]: 2 patients in neither part",)
    assert fold_warnings(plan, patients("abcdef")) == ()
    assert len(trials_of(plan, patients("abcdefgh"), "cpu")) == 4  # two losses, two seeds
    with pytest.raises(UsageError, match=r"split = \[4, 2\] needs 6 patients, there are 5"):
        folds_of(plan, patients("abcde"))
    with pytest.raises(UsageError, match="split and folds_file both say who is tested"):
        load(tmp_path, f'split = [4, 2]\nfolds_file = "f.json"\n{GOOD}')
    assert Plan.preset("topk-synapse").changed({"split": (18, 12)}).folds == 1


def test_patients_in_no_fold_of_a_file_are_named(tmp_path: Path) -> None:
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


def test_a_plan_declares_margins_and_what_decides(tmp_path: Path) -> None:
    plan = load(tmp_path, GOOD)
    assert (plan.margin, plan.decision, plan.repeats) == ({}, "frequentist", 1)
    changed = plan.changed({"margin": {"dice": 0.02}, "decision": "bayesian"})
    assert tomllib.loads(changed.to_toml())["margin"] == {"dice": 0.02}
    for changes, message in (
        ({"margin": {"nsd": 0.1}}, "margin 'nsd' is not one of metrics"),
        ({"margin": {"dice": -0.1}}, "margin"),
        ({"decision": "bayes"}, "decision"),
        ({"primary_metrics": ("hd95", "dice")}, "primary_metrics must begin with primary_metric, 'dice'"),
        ({"primary_metrics": ("dice", "nsd")}, "primary_metrics 'nsd' is not one of metrics"),
        ({"primary_metrics": ("dice", "dice")}, "primary_metrics names dice twice"),
        ({"repeats": 2, "split": (4, 2)}, "repeats needs folds made here"),
    ):
        with pytest.raises(UsageError, match=message):
            plan.changed(changes)


def test_repeats_divide_the_patients_anew_and_leave_the_first_division_alone(tmp_path: Path) -> None:
    """Trials of a plan without repeats keep their keys; those of a repeat follow with their own fold numbers."""
    plan, cohort = load(tmp_path, GOOD), patients("abcdefgh")
    once, twice = (trials_of(each, cohort, "cpu") for each in (plan, plan.changed({"repeats": 2})))
    folds = folds_of(plan.changed({"repeats": 2}), cohort)
    assert len(folds) == 2 * plan.folds == plan.changed({"repeats": 2}).all_folds
    assert folds[: plan.folds] == folds_of(plan, cohort)
    assert set(folds[plan.folds :]) != set(folds[: plan.folds])
    for repeat in (folds[: plan.folds], folds[plan.folds :]):
        assert sorted(name for fold in repeat for name in fold.test) == list("abcdefgh")
    assert {trial.key for trial in once} == {trial.key for trial in twice if trial.fold < plan.folds}
    assert {trial.fold for trial in twice} == set(range(2 * plan.folds))


def test_epochs_stand_instead_of_steps(tmp_path: Path) -> None:
    plan = load(tmp_path, GOOD + "[training]\nepochs = 3\ncheck_every = 0\nbatch = 4\n")
    assert "steps" not in tomllib.loads(plan.to_toml())["training"]
    assert load(tmp_path, plan.to_toml()) == plan
    recipes = {trial.fold: trial.recipe for trial in trials_of(plan, patients("abcdefghij"), "cpu")}
    assert {(r.steps, r.check_every) for r in recipes.values()} == {(6, 2)}  # five training cases, four a step
    with pytest.raises(UsageError, match="training: give steps or epochs, not both; got steps 5 and epochs 3"):
        load(tmp_path, GOOD + "[training]\nepochs = 3\nsteps = 5\n")
    counted = load(tmp_path, GOOD + "[training]\nepochs = 2\nepoch_patches = 40\nbatch = 4\nvalidation_share = 0.2\n")
    assert {trial.recipe.steps for trial in trials_of(counted, patients("abcdefghij"), "cpu")} == {20}
    aside = load(tmp_path, GOOD + "[training]\nepochs = 1\nbatch = 1\nvalidation_share = 0.4\n")
    assert {trial.recipe.steps for trial in trials_of(aside, patients("abcdefghij"), "cpu")} == {3}


def test_keys_that_came_later_leave_the_names_of_older_trials_alone(tmp_path: Path) -> None:
    plan = load(tmp_path, GOOD.replace("hytver(fn=0.8)", "focal") + '[training]\nprecision = "float32"\n')
    (first, *_) = trials_of(plan, patients("abcd"), "cpu")
    assert "loss_sha256" not in flat_record(first)
    assert (first.key, first.pair) == ("01516f455c381cfc", "85f85bf65067a78f")  # as they were before these keys


def test_several_data_sets_and_networks_are_runs_of_their_own(tmp_path: Path) -> None:
    text = """
name = "grid"
losses = ["dice", "focal"]
baseline_loss = "dice"
folds = 2
seeds = [1]
networks = ["unet3d(filters=4)", "vnet(filters=2)"]
[[datasets]]
name = "here"
source = "synth"
[[datasets]]
source = "lit:/data/lit"
"""
    plan = load(tmp_path, text)
    runs = plan.runs()
    assert list(runs) == [
        "here--unet3d-filters-4",
        "here--vnet-filters-2",
        "lit--unet3d-filters-4",
        "lit--vnet-filters-2",
    ]
    assert runs["lit--vnet-filters-2"].network.text == "vnet(filters=2)"
    assert runs["lit--vnet-filters-2"].data.source == "lit:/data/lit"
    assert load(tmp_path, plan.to_toml()) == plan
    assert load(tmp_path, runs["here--vnet-filters-2"].to_toml()).runs().keys() == {""}
    with pytest.raises(UsageError, match=r"unknown key datasets.1.sourse; did you mean 'source'"):
        load(tmp_path, text.replace('source = "lit', 'sourse = "lit'))
    with pytest.raises(UsageError, match="give network or networks, not both"):
        load(tmp_path, text + '[network]\ntext = "vnet(filters=2)"\n')
    with pytest.raises(UsageError, match=r"vnet.* needs sides that are multiples of 16"):
        load(tmp_path, text + "[training]\npatch = [24, 24, 24]\n")


def test_a_plan_may_be_based_on_a_preset(tmp_path: Path) -> None:
    plan = load(tmp_path, 'based_on = "cabezas-lit"\nseeds = [7]\n[training]\nsteps = 9\n[data]\nlayout = "nnunet"\n')
    base = Plan.preset("cabezas-lit")
    assert plan.losses == base.losses
    assert plan.training.patch == base.training.patch
    assert (plan.seeds, plan.training.steps, plan.training.epochs, plan.data.layout) == ((7,), 9, 0, "nnunet")
    with pytest.raises(UsageError, match="no preset is named 'cabezas-lid'; did you mean 'cabezas-lit'"):
        load(tmp_path, 'based_on = "cabezas-lid"\n')
    with pytest.raises(UsageError, match="unknown key based_in; did you mean 'based_on'"):
        load(tmp_path, 'based_in = "cabezas-lit"\n' + GOOD)


def test_unknown_keys_deep_inside_are_named_with_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, GOOD + "[data.prepare.resample]\nspacing = [1, 1, 1]\n[curves]\nevery_epoch = 1\n")
    assert "unknown key data.prepare.resample.spacing; did you mean 'spacing_mm'" in str(caught.value)
    assert "unknown key curves.every_epoch; did you mean 'every_epochs'" in str(caught.value)


def test_curves_are_of_metrics_that_the_plan_scores(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="curves 'brier' is not one of metrics"):
        load(tmp_path, GOOD + '[curves]\nevery_epochs = 1\nmetrics = ["brier"]\n')


def test_no_key_of_a_plan_chooses_weights_by_the_test_patients(tmp_path: Path) -> None:
    for key in ("select", "selection", "validation", "choose_by"):
        for value in ('"test"', '"best_test"', "true"):
            with pytest.raises(UsageError, match=f"unknown key training.{key}"):
                load(tmp_path, f"{GOOD}[training]\n{key} = {value}\n")
    for key in ("monitor", "keep"):
        with pytest.raises(UsageError, match=rf"training\.{key}: .*'test'"):
            load(tmp_path, f'{GOOD}[training]\nvalidation_share = 0.2\n{key} = "test"\n')
    for share in ("1", "1.5", "-0.2"):
        with pytest.raises(UsageError, match=r"training\.validation_share"):
            load(tmp_path, f"{GOOD}[training]\nvalidation_share = {share}\n")


MINE = """
from lesionloss import loss

@loss("NAME", source="a test")
def NAME(v):
    \"\"\"Mine: the squared error of the lesion probability.\"\"\"
    return (v.p[:, 1:] - v.t[:, 1:]).square().mean(-1).mean(1) * FACTOR
"""


def own_loss(folder: Path, name: str, factor: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mine.py"
    path.write_text(MINE.replace("NAME", name).replace("FACTOR", str(factor)))
    return path


@pytest.fixture
def own_names() -> Iterator[tuple[str, str]]:
    names = ("mine_of_plan", "mine_of_option")
    yield names
    for name in set(names) & set(registry.LOSSES.names()):
        registry.LOSSES.remove(name)


def test_a_plan_brings_its_own_losses(tmp_path: Path, own_names: tuple[str, str]) -> None:
    name, _ = own_names
    own_loss(tmp_path / "code", name)
    text = GOOD.replace("hytver(fn=0.8)", name) + 'losses_files = ["code/mine.py"]\n'
    plan = load(tmp_path, text)
    assert plan.losses == ("dice", name)
    store_plan(plan, tmp_path / "run")
    assert (tmp_path / "run" / "losses" / "mine.py").read_text() == (tmp_path / "code" / "mine.py").read_text()
    assert 'losses_files = [\n    "losses/mine.py",\n]' in (tmp_path / "run" / "plan.toml").read_text()
    store_plan(plan, tmp_path / "run")  # the same plan again
    store_plan(Plan.load(tmp_path / "run" / "plan.toml"), tmp_path / "run")
    own, dice = (next(t for t in trials_of(plan, patients("abcd"), "cpu") if t.loss == loss) for loss in (name, "dice"))
    assert own.loss_sha256 == sha256_of(tmp_path / "code" / "mine.py")
    assert flat_record(own)["loss_sha256"] == own.loss_sha256
    assert dice.loss_sha256 == ""
    assert own.pair == dice.pair
    registry.LOSSES.remove(name)
    own_loss(tmp_path / "code", name, factor=2)
    changed = load(tmp_path, text)
    with pytest.raises(UsageError, match=r"another plan \(it differs in losses_files"):
        store_plan(changed, tmp_path / "run")
    assert next(t for t in trials_of(changed, patients("abcd"), "cpu") if t.loss == name).key != own.key
    with pytest.raises(UsageError, match=r"plan.toml.*no file .*code/none.py with losses"):
        load(tmp_path, text.replace("mine.py", "none.py"))


def test_losses_of_an_option_become_part_of_the_plan(tmp_path: Path, own_names: tuple[str, str]) -> None:
    _, name = own_names
    path = own_loss(tmp_path / "elsewhere", name)
    load_user_file(path)
    plan = load(tmp_path, GOOD.replace("hytver(fn=0.8)", f"0.5*{name} + 0.5*dice"))
    assert plan.losses_files == (str(path.resolve()),)
    assert load(tmp_path, GOOD).losses_files == ()


def test_settings_of_the_command_line_reach_every_table_of_a_plan() -> None:
    changed = chosen_plan("topk-synapse", None, [], ["data.prepare.clip.between=[0, 9]", "training.batch=3", "folds=4"])
    assert (changed.data.preparation.clip.between, changed.training.batch, changed.folds) == ((0, 9), 3, 4)
    assert changed.data.preparation.resample.size == (320, 320)  # all else is as it was
    with pytest.raises(UsageError, match=r"--set data.prepar.clip.between: data has no part 'prepar'"):
        chosen_plan("topk-synapse", None, [], ["data.prepar.clip.between=[0, 9]"])
