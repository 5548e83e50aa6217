"""Settings of synthetic cohorts: profiles, TOML, mistakes explained, random configurations that all work."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lesionloss.cli import app
from lesionloss.core.errors import UsageError
from lesionloss.core.validation_errors import keys_of
from lesionloss.synth import PROFILES, SynthSettings, as_toml, load_settings, profile_settings, synthesise


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_survive_a_file(name: str, tmp_path: Path) -> None:
    made = profile_settings(name, {"spacing_mm": "scanner"})
    (tmp_path / "x.toml").write_text(as_toml(made))
    assert load_settings(tmp_path / "x.toml") == made


def test_a_file_may_change_a_profile(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('profile = "lit"\nspacing_mm = 1.5\n[scanner]\nnoise = [0.1, 0.2]\n')
    made = load_settings(file, {"ground_truth": "positive"})
    assert made.scanner.noise == (0.1, 0.2)
    assert made.scanner.planes == profile_settings("lit").scanner.planes
    assert (made.spacing_mm, made.ground_truth) == (1.5, "positive")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"spacing_mm": 0.1}, "spacing_mm"),
        ({"spacing_mm": float("nan")}, "spacing_mm"),
        ({"spacing_mm": "scaner"}, "spacing_mm"),
        ({"spacng_mm": 2.0}, "unknown key spacng_mm; did you mean 'spacing_mm'"),
        ({"lesions": {"stable_share": 2}}, "lesions.stable_share"),
        ({"lesions": {"contrst": (0, 1)}}, "unknown key lesions.contrst; did you mean 'contrast'"),
        ({"scanner": {"noise": (0.2, 0.1)}}, r"scanner.noise: the lower end must come first, got \[0.2, 0.1\]"),
        ({"scanner": {"noise": (0.2, 5)}}, "scanner.noise: must lie between 0 and 0.5"),
        ({"scanner": {"noise": (0.2, float("nan"))}}, "scanner.noise: must lie between"),
        ({"scanner": {"planes": (0, 0, 0)}}, "scanner.planes: at least one weight must be above 0"),
        ({"contrast": {"grey": 1.2}}, "contrast.grey"),
    ],
)
def test_bad_settings_are_explained(broken: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SynthSettings(**broken)


def test_bad_files_are_explained(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    with pytest.raises(UsageError, match="no such file"):
        load_settings(file)
    file.write_text("spacing_mm = ")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_settings(file)
    file.write_text('profile = "litt"')
    with pytest.raises(UsageError, match=r"x.toml: no synth profile is named 'litt'; did you mean 'lit'"):
        load_settings(file)


def test_every_key_has_limits_and_a_meaning() -> None:
    text = as_toml(SynthSettings())
    for table in keys_of(SynthSettings):
        field = SynthSettings.model_fields[table]
        part = getattr(SynthSettings(), table)
        if not hasattr(type(part), "model_fields"):
            assert field.description
            continue
        for key, inner in type(part).model_fields.items():
            assert inner.description, key
            assert f"# {inner.description}\n{key} = " in text


def test_every_key_is_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "synth.md").read_text(encoding="utf-8")
    for table in keys_of(SynthSettings):
        part = getattr(SynthSettings(), table)
        for key in type(part).model_fields if hasattr(type(part), "model_fields") else [table]:
            assert f"`{key}`" in page, f"{table}.{key}"


def test_command_prints_a_file_to_begin_with(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["synth", "--print-config", "--profile", "msseg2", "--spacing", "1.5"])
    assert shown.exit_code == 0, shown.output
    (tmp_path / "x.toml").write_text(shown.output)
    assert load_settings(tmp_path / "x.toml") == profile_settings("msseg2", {"spacing_mm": 1.5})


def test_command_needs_a_folder_and_one_source_of_settings(tmp_path: Path) -> None:
    for arguments, message in (
        (["synth"], "OUT is missing"),
        (["synth", "x", "--profile", "lit", "--config", str(tmp_path / "y.toml")], "exclude each other"),
        (["synth", "x", "--profile", "demoo"], "did you mean 'demo'"),
        (["synth", "x", "--spacing", "scan"], "spacing_mm"),
    ):
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, UsageError), result.output
        assert message in str(result.exception)


@st.composite
def configurations(draw: st.DrawFn) -> SynthSettings:
    """A narrow or a wide range within the limits for some keys of every table."""
    record: dict[str, Any] = {"spacing_mm": 4.0, "ground_truth": draw(st.sampled_from(["new", "positive", "change"]))}
    for table in ("anatomy", "contrast", "look_alikes", "lesions", "scanner", "followup"):
        fields = type(getattr(SynthSettings(), table)).model_fields
        chosen = draw(st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True))
        record[table] = {key: draw(_values(fields[key])) for key in chosen}
    return SynthSettings(**record)


def _values(field: Any) -> st.SearchStrategy[Any]:
    limits = field.json_schema_extra
    if limits is None:
        return st.floats(0, 1)
    low, high = limits["low"], limits["high"]
    if len(field.default) > 2:
        return st.lists(st.floats(0.01, 5), min_size=len(field.default), max_size=len(field.default)).map(tuple)
    whole = isinstance(field.default[0], int) and isinstance(field.default[1], int) and high >= 100 and low < 2
    number = st.integers(int(low), min(int(high), 40)) if whole else st.floats(low, min(high, 2000))
    return st.tuples(number, number).map(lambda pair: tuple(sorted(pair)))


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(configurations(), st.integers(0, 2**31), st.integers(0, 500))
def test_random_configurations_keep_the_laws(chosen: SynthSettings, seed: int, index: int) -> None:
    patient = synthesise(seed, index, chosen)
    before, after = (labels > 0 for labels in patient.lesions)
    assert all(np.isfinite(clean).all() for clean in patient.clean)
    assert all((image >= 0).all() and (image[~patient.brain] == 0).all() for image in patient.visits)
    assert not ((before | after | patient.reference) & ~patient.brain).any()
    assert not patient.reference[(patient.change == 0) & (patient.kinds["new"] == 0)].any()
    assert not (before & (patient.kinds["new"] > 0)).any()
    assert not (after & (patient.kinds["vanishing"] > 0)).any()
    np.testing.assert_array_equal(patient.change > 0, after & ~before)
    assert patient.record.smallest_jacobian > 0.2
    assert len(patient.record.of_kind("new")) <= chosen.lesions.new_count[1]
