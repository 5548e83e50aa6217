"""Prepared cases: what is in them, that nothing moves, and that they are made once and whole."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.affines import apply_affine

from data_cohorts import AFFINE, SHAPE, boxes, head, save, visits, write_lit, write_msseg2
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.cohort import open_cohort
from lesionloss.data.cohort_index import load_index
from lesionloss.data.preparation import prepare_case
from lesionloss.data.preparation.brain_mask import otsu_threshold, simple_brain
from lesionloss.data.preparation.prepare_case import prepare_subject
from lesionloss.data.preparation.prepare_cohort import prepare_cohort, shared_images
from lesionloss.data.preparation.recipe import PreparationRecipe, make_recipe
from lesionloss.data.prepared import PreparedCase, load_prepared, save_prepared, to_original_grid
from lesionloss.data.subject import Subject


def subject(brain: np.ndarray | None = None, reference: np.ndarray | None = None) -> Subject:
    images = visits(3, head(), boxes((8, 9, 5)), np.zeros(SHAPE, bool))
    labels = None if reference is None else reference.astype(np.uint8)
    return Subject("a", "p", tuple(image[None].astype(np.float32) for image in images), labels, brain, AFFINE)


def with_margin(voxels: int) -> PreparationRecipe:
    return make_recipe({"crop": {"margin_voxels": voxels}}, "test")


def test_each_visit_is_z_scored_inside_the_brain_and_zero_outside() -> None:
    case = prepare_subject(subject(head(), boxes((8, 9, 5))), with_margin(2))
    for channel in case.image[:2]:
        assert channel[case.brain].mean() == pytest.approx(0, abs=1e-4)
        assert channel[case.brain].std() == pytest.approx(1, abs=1e-4)
        assert not channel[~case.brain].any()
    np.testing.assert_array_equal(case.image[2], case.image[1] - case.image[0])
    assert case.image.dtype == np.float32
    assert case.image[2][case.lesion].mean() > 2


def test_what_lies_outside_the_brain_has_no_say() -> None:
    plain = subject(head(), boxes((8, 9, 5)))
    skull = replace(plain, visits=tuple(np.where(head(), visit, 9000).astype(np.float32) for visit in plain.visits))
    np.testing.assert_array_equal(prepare_subject(plain).image, prepare_subject(skull).image)


def test_the_affine_of_the_crop_points_to_the_same_millimetres() -> None:
    case = prepare_subject(subject(head(share=0.4), boxes((10, 11, 6))), with_margin(1))
    assert min(case.offset) > 0
    index = np.array([2, 1, 1])
    mark = np.zeros(case.shape, dtype=np.float32)
    mark[tuple(index)] = 1
    (there,) = np.argwhere(to_original_grid(mark, case))
    np.testing.assert_allclose(apply_affine(case.affine, index), apply_affine(AFFINE, there))
    assert case.spacing_mm == pytest.approx((1, 1, 3))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    margin=st.integers(0, 6),
    share=st.floats(0.2, 1.2),
    lesion=st.tuples(*(st.integers(0, n - 1) for n in SHAPE)),
)
def test_no_reference_voxel_moves_or_is_lost(
    seed: int, margin: int, share: float, lesion: tuple[int, int, int]
) -> None:
    reference = boxes(lesion) | (np.random.default_rng(seed).random(SHAPE) < 0.001)
    brain = head(share=share)
    case = prepare_subject(subject(brain, reference), with_margin(margin))
    np.testing.assert_array_equal(to_original_grid(case.reference, case), reference)
    np.testing.assert_array_equal(to_original_grid(case.brain, case), brain)
    assert case.reference_outside_brain == (reference & ~brain).sum()
    assert case.image.shape == (3, *case.shape)


def test_an_array_of_another_grid_is_not_put_back() -> None:
    case = prepare_subject(subject(head(share=0.4)))
    assert not case.reference.any()
    with pytest.raises(DataError, match="expected an array on the prepared grid"):
        to_original_grid(np.zeros(SHAPE), case)


def test_subjects_that_can_not_be_prepared() -> None:
    whole = subject(head())
    flat = np.where(head(), 5, whole.visits[1]).astype(np.float32)
    with pytest.raises(DataError, match=r"a, visit 2: all .* brain mask are equal"):
        prepare_subject(replace(whole, visits=(whole.visits[0], flat)))
    with pytest.raises(UsageError, match="margin_voxels"):
        with_margin(-1)


def test_one_visit_several_contrasts_classes_and_ignored_voxels_are_kept() -> None:
    both = subject(head())
    reference = boxes((8, 9, 5)).astype(np.uint8)
    reference[8:10, 9:11, 5:7] = 2
    ignore = np.zeros(SHAPE, bool)
    ignore[3, 3, 3] = True
    one = Subject("a", "p", (np.concatenate(both.visits),), reference, head(), AFFINE, ignore, ("core", "rim"))
    case = prepare_subject(one)
    assert case.channels == ("contrast1", "contrast2")
    assert case.image.shape == (2, *case.shape)
    assert (to_original_grid(case.reference, case) == reference).all()
    assert case.ignore is not None
    assert case.classes == ("core", "rim")
    assert case.lesion.sum() == (reference > 0).sum()


def test_a_picture_is_prepared_whole(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).random((3, 20, 30), dtype=np.float32)
    reference = np.zeros((20, 30), np.uint8)
    reference[4:9, 5:8] = 1
    case = prepare_subject(Subject("a", "a", (picture,), reference, None, np.eye(4)))
    assert (case.shape, case.spacing_mm, case.offset) == ((20, 30), (1.0, 1.0), (0, 0))
    save_prepared(case, tmp_path / "a.npz")
    again = load_prepared(tmp_path / "a.npz")
    assert again.content_sha256 == case.content_sha256
    assert again.channels == case.channels


def test_otsu_separates_two_classes() -> None:
    values = np.concatenate([np.full(900, 1.0), np.full(100, 9.0)]).astype(np.float32)
    values += np.random.default_rng(0).normal(0, 0.3, 1000).astype(np.float32)
    assert ((values > otsu_threshold(values)) == (values > 5)).all()


def test_a_simple_brain_is_filled_and_without_what_lies_apart() -> None:
    image = visits(1, head(), boxes(), boxes())[0].astype(np.float32)
    image[10:12, 11:13, 6:8] = 0
    image[0, 0, 0] = 300
    mask = simple_brain(image, (1.0, 1.0, 1.0), "a")
    assert mask[10:12, 11:13, 6:8].all()
    assert not mask[0, 0, 0]
    overlap = 2 * (mask & head()).sum() / (mask.sum() + head().sum())
    # Opening by 3 mm rounds the tips of so small a head.
    assert overlap > 0.93


def test_without_a_mask_a_simple_one_is_made() -> None:
    case = prepare_subject(subject(None))
    brain = to_original_grid(case.brain, case)
    assert 2 * (brain & head()).sum() / (brain.sum() + head().sum()) > 0.9


def test_a_case_reads_back_as_it_was(tmp_path: Path) -> None:
    case = prepare_subject(subject(head(share=0.5), boxes((8, 9, 5))))
    save_prepared(case, tmp_path / "a.npz")
    again = load_prepared(tmp_path / "a.npz")
    assert again.content_sha256 == case.content_sha256
    for name in ("name", "patient", "offset", "original_shape", "shape", "spacing_mm"):
        assert getattr(again, name) == getattr(case, name)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert {"values", "reference_at", "brain", "affine", "offset", "original_shape"} <= set(stored.files)


def test_content_digest_sees_every_array() -> None:
    case = prepare_subject(subject(head(share=0.5), boxes((8, 9, 5))))
    changed = [
        replace(case, image=case.image * 2),
        replace(case, reference=1 - case.reference),
        replace(case, brain=~case.brain),
        replace(case, affine=case.affine * 2),
        replace(case, offset=(0, 0, 0)),
        replace(case, original_shape=(99, 99, 99)),
    ]
    assert len({other.content_sha256 for other in [case, *changed]}) == 7


def test_damaged_cases_are_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="no such prepared case; prepare the cohort again"):
        load_prepared(path)
    save_prepared(prepare_subject(subject(head(), boxes((8, 9, 5)))), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"{path}: not a whole prepared case"):
        load_prepared(path)
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 4
    path.write_bytes(flipped)
    with pytest.raises(DataError, match="delete it and prepare the cohort again"):
        load_prepared(path)
    np.savez(path, image=np.zeros(3))
    with pytest.raises(DataError, match="a prepared case of format 1, this program reads 3"):
        load_prepared(path)


def test_a_cohort_is_prepared_with_an_index(tmp_path: Path) -> None:
    cohort = open_cohort(write_msseg2(tmp_path / "raw"))
    (tmp_path / "raw" / "training" / "014" / "brain_mask.nii.gz").unlink()
    (tmp_path / "raw" / "training" / "099").mkdir()
    cohort = open_cohort(tmp_path / "raw")
    seen: list[tuple[str, int, int]] = []
    index = prepare_cohort(cohort, tmp_path / "out", progress=lambda *step: seen.append(step)).index
    assert seen == [("013", 1, 3), ("014", 2, 3), ("015", 3, 3)]
    assert load_index(tmp_path / "out") == index
    stored = json.loads((tmp_path / "out" / "index.json").read_text())
    assert [case["reference_voxels"] for case in stored["cases"]] == [0, 8, 16]
    assert [case["reference_mm3"] for case in stored["cases"]] == pytest.approx([0, 24, 48])
    assert [case["brain"] for case in stored["cases"]] == ["file", "threshold", "file"]
    assert stored["incomplete"][0]["name"] == "099"
    assert str(tmp_path) not in (tmp_path / "out" / "index.json").read_text()
    assert index.patient_loads() == pytest.approx({"013": 0, "014": 24, "015": 48})
    for entry in index.cases:
        case = load_prepared(tmp_path / "out" / f"{entry.name}.npz")
        assert (case.content_sha256, case.shape, case.patient) == (entry.content_sha256, entry.shape, entry.patient)


def made(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}


def test_only_what_changed_is_done_again(tmp_path: Path) -> None:
    cohort = open_cohort(write_lit(tmp_path / "raw"))
    out = tmp_path / "out"
    first = prepare_cohort(cohort, out).index
    before = made(out)
    assert prepare_cohort(cohort, out).index == first
    assert made(out) == before

    save(tmp_path / "raw" / "patient02" / "gt.nii.gz", boxes((8, 9, 5), edge=3).astype(np.uint8))
    second = prepare_cohort(cohort, out).index
    after = made(out)
    assert [name for name in before if after[name] != before[name]] == ["patient02.npz"]
    assert second.cases[1].reference_voxels == 27

    (out / "patient01.npz").write_bytes(b"broken")
    assert prepare_cohort(cohort, out).index == second
    assert load_prepared(out / "patient01.npz").name == "patient01"

    for target, margin in (("positive_change", 0), ("change", 0)):
        changed = prepare_cohort(open_cohort(tmp_path / "raw", target), out, with_margin(margin)).index
        assert not set(after.values()) & set(made(out).values())
        assert load_index(out) == changed != second
        after = made(out)


def test_a_run_that_was_killed_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = open_cohort(write_lit(tmp_path / "raw"))
    out = tmp_path / "out"

    def dies_on_the_third(case: PreparedCase, path: Path, record: Mapping[str, Any]) -> None:
        if path.name == "patient03.npz":
            raise KeyboardInterrupt
        save_prepared(case, path, record)

    prepare_cohort(cohort, out, with_margin(9))
    (out / "patient03.npz").unlink()
    monkeypatch.setattr(prepare_case, "save_prepared", dies_on_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare_cohort(cohort, out)
    monkeypatch.undo()
    before = made(out)
    assert sorted(before) == ["patient01.npz", "patient02.npz"]
    with pytest.raises(DataError, match="no such file; prepare the cohort first"):
        load_index(out)
    assert len(prepare_cohort(cohort, out).index.cases) == 3
    assert {name: made(out)[name] for name in before} == before


def test_bad_cases_are_counted_and_no_index_is_written(tmp_path: Path) -> None:
    root = write_lit(tmp_path / "raw")
    for patient in ("patient01", "patient03"):
        (root / patient / "gt.nii.gz").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        prepare_cohort(open_cohort(root), tmp_path / "out")
    assert str(caught.value).startswith(str(root / "patient01" / "gt.nii.gz"))
    assert "and 1 more problem" in str(caught.value)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["patient02.json", "patient02.npz"]


def test_one_image_of_two_patients_is_refused(tmp_path: Path) -> None:
    root = write_lit(tmp_path / "raw")
    twin = root / "patient03" / "study1_FLAIR.nii.gz"
    twin.write_bytes((root / "patient01" / "study2_FLAIR.nii.gz").read_bytes())
    cohort = open_cohort(root)
    assert len(shared_images(cohort.cases)) == 1
    with pytest.raises(DataError, match=f"{twin} is the same file as .*patient01.*training and in test"):
        prepare_cohort(cohort, tmp_path / "out")


@pytest.mark.parametrize("text", ["", "{}", '{"layout": 1, "cases": 3}', "[]"])
def test_a_damaged_index_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(DataError, match="not the index of a prepared cohort"):
        load_index(tmp_path)


def test_a_file_of_another_format_is_refused_in_one_clear_line(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", image=np.zeros(1))
    with pytest.raises(DataError, match=r"a\.npz: a prepared case of format 1, this program reads 3; prepare the"):
        load_prepared(tmp_path / "a.npz")
