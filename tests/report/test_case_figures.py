"""Figures of chosen cases: what their colours are, what is left out, and when a figure is left out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lesionloss as ll
from lesionloss.core.palette import CLASSES, OUTLINE, PROBABILITY, WRONG_CLASS
from lesionloss.core.slice_pictures import Field, covering, label_map, overlay
from lesionloss.report.case_slices import CaseSlice, LossSlice
from lesionloss.report.class_pictures import class_figure, class_words
from lesionloss.report.embedded_cases import pictured
from lesionloss.report.picture_sheets import MOST_COLUMNS, class_keys
from lesionloss.report.pictures import case_figure, case_words, cases_figure, cases_words, error_words
from lesionloss.report.probability_pictures import OUTSIDE, heat_map, probability_figure
from lesionloss.report.report_content import collect_content
from lesionloss.report.topk_pictures import can_rank, hardest_curves, hardest_dice, hardest_figure, left_out, run_k
from make_run import TINY_CASES, Made, make_run

SHAPE = (40, 50)
CASE_FIGURES = {"case-worst", "case-median", "cases", "case-probabilities", "case-left-out"}
CASE_FIGURES |= {"case-hardest", "case-hardest-curves"}


def shown_slice(classes: int = 2, losses: int = 2, flat: bool = False) -> CaseSlice:
    """A slice with a square for each class; the predictions are blurred by the number of the loss."""
    draw = np.random.default_rng(1)
    reference = np.zeros(SHAPE, dtype=np.uint8)
    for number in range(1, classes + 1):
        reference[8 * number : 8 * number + 6, 10:20] = number
    predicted = []
    for number in range(losses):
        maps = np.stack([(reference == c + 1) * 0.8 for c in range(classes)])
        maps = (maps + draw.uniform(0, 0.15, maps.shape)).astype(np.float32)
        lesion = maps.sum(0).clip(0, 1)
        labels = np.where(lesion >= 0.5, maps.argmax(0) + 1, 0).astype(np.uint8)
        predicted.append(LossSlice(f"loss {number}", "Dice .5, seed 1", True, 0.5, lesion, labels, maps))
    brain = np.ones(SHAPE, dtype=bool)
    brain[:3] = False
    return CaseSlice(
        case="a$b$ <i>",
        role="median",
        rule="of 5 cases by Dice, averaged over all losses and seeds",
        number=4,
        images=(("Image", draw.normal(size=SHAPE).astype(np.float32)),),
        window=(-3.0, 3.0),
        reference=reference,
        classes=tuple("abcdefghijk"[:classes]),
        counted=np.ones(SHAPE, dtype=bool),
        brain=brain,
        plane_mm=(1.0, 1.0),
        flat=flat,
        losses=tuple(predicted),
        absent={},
    )


def colour(text: str) -> np.ndarray:
    return np.array([int(text[start : start + 2], 16) for start in (1, 3, 5)])


def words_of(figure: Any) -> str:
    from matplotlib.text import Text

    return " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())


def test_a_wrong_class_is_neither_right_nor_a_false_positive():
    reference = np.zeros((20, 20), dtype=np.uint8)
    reference[:, :10] = 1
    prediction = np.zeros_like(reference)
    prediction[:10] = 2
    field = Field(slice(0, 20), slice(0, 20), (1.0, 1.0))
    black = np.zeros((200, 200, 3), dtype=np.uint8)
    drawn = overlay(black, prediction, reference, field, 0.1)
    assert (drawn[:100, :100] == colour(WRONG_CLASS)).all(axis=2).mean() > 0.4
    assert not (drawn[:100, 100:] == colour(WRONG_CLASS)).all(axis=2).any()
    same = overlay(black, prediction > 0, reference > 0, field, 0.1)
    assert np.array_equal(same[:, 100:], drawn[:, 100:])
    assert np.array_equal(same[100:], drawn[100:])
    assert not np.array_equal(same[:100, :100], drawn[:100, :100])


def test_each_class_has_its_colour_and_later_ones_are_striped():
    field = Field(slice(0, 2), slice(0, 20), (1.0, 1.0))
    labels = np.tile(np.repeat(np.arange(1, 11, dtype=np.uint8), 2), (2, 1))
    drawn = label_map(np.zeros((20, 200, 3), dtype=np.uint8), labels, field, 0.1)
    for number in range(8):
        assert (drawn[:, 20 * number : 20 * number + 20] == np.round(0.8 * colour(CLASSES[number]))).all()
    ninth = (drawn[:, 160:180] == np.round(0.8 * colour(CLASSES[0]))).all(axis=2)
    assert 0.3 < ninth.mean() < 0.9
    assert [key.get_label() for key in class_keys(list("abcdefghij"))] == list("abcdefghij")
    assert [bool(key.get_hatch()) for key in class_keys(list("abcdefghij"))] == [False] * 8 + [True] * 2


def test_a_heat_map_shows_each_probability_in_its_colour():
    from matplotlib import colormaps

    shown = shown_slice(classes=1, flat=True)
    frame = shown.frames[0]
    values = np.full(SHAPE, 0.25, dtype=np.float32)
    drawn = heat_map(shown, replace(shown.losses[0], probability=values), replace(frame, pixel_mm=0.25))
    expected = np.round(np.array(colormaps[PROBABILITY](0.25)[:3]) * 255)
    found = {tuple(pixel) for pixel in drawn.reshape(-1, 3)}
    assert found == {tuple(expected), tuple(colour(OUTLINE)), (OUTSIDE,) * 3}
    line = (drawn == colour(OUTLINE)).all(axis=2)
    assert line.sum() == 2 * (10 * 4 + 6 * 4)  # around 6 x 10 voxels of 4 x 4 pixels, outside of them


@pytest.mark.parametrize("k", [100, 50, 30, 10, 7.5])
@pytest.mark.parametrize("classes", [1, 2])
def test_dice_of_the_hardest_is_the_loss(k, classes):
    shown = shown_slice(classes)
    maps = known_maps(shown.losses[0])
    ignored = shown.counted.copy()
    ignored[10:12, 12:30] = False
    reference = np.where(ignored, shown.reference, 0).astype(np.uint8)
    if classes == 1:
        logits = torch.logit(torch.from_numpy(maps.astype(np.float64)))
    else:
        background = 1 - maps.sum(0, keepdims=True).clip(0, 0.999)
        every = np.concatenate([background, maps]).astype(np.float64)
        every /= every.sum(0)
        logits, maps = torch.from_numpy(every).log(), every[1:].astype(np.float32)
    loss = ll.build(f"topk_dice(k={k})")
    labels = torch.from_numpy(reference.astype(np.int64))[None]
    target = labels[:, None] if classes == 1 else labels
    value = loss(logits[None], target, valid=torch.from_numpy(ignored)[None])
    assert hardest_dice(maps, reference, ignored, k) == pytest.approx(1 - float(value), abs=1e-5)
    count = int((reference == 1).sum())
    assert left_out(maps[0], reference == 1, k).sum() == count - int(np.ceil(k * count / 100))


def known_maps(each: LossSlice) -> np.ndarray:
    assert each.of_classes is not None
    return each.of_classes


def test_dice_falls_with_k_and_is_undefined_without_lesion():
    shown = shown_slice(1)
    maps = known_maps(shown.losses[0])
    values = [hardest_dice(maps, shown.reference, shown.counted, k) for k in range(100, 9, -10)]
    assert values == sorted(values, reverse=True)
    assert np.isnan(hardest_dice(maps, shown.reference * 0, shown.counted, 50))


def test_lesions_outside_the_close_up_are_seen_where_all_are():
    shown = shown_slice(1)
    mask = np.zeros((100, 100), dtype=bool)
    mask[5:9, 90:95] = mask[60, 10] = True
    field = covering(mask, (1.0, 2.0), 44.0)
    assert (field.rows, field.columns) == (slice(0, 100), slice(8, 97))  # 85 columns, a margin of 2
    assert field.of(mask).sum() == mask.sum()
    near = covering(mask[:50], (1.0, 2.0), 44.0)
    assert (near.rows, near.columns) == (slice(0, 44), slice(78, 100))
    assert covering(mask & False, (1.0, 1.0), 44.0).of(mask).shape == (100, 100)
    assert shown.all_lesions.field.of(shown.reference).sum() == shown.reference.sum()


def test_flat_pictures_have_one_view_and_no_sides():
    large = replace(shown_slice(1), plane_mm=(2.0, 2.0))
    flat, volume = (case_figure(replace(large, flat=flat)) for flat in (True, False))
    assert [len(figure.axes[0].images) for figure in (flat, volume)] == [
        6,
        10,
    ]  # image, reference, two losses with their probabilities
    sides = [[t for t in figure.axes[0].texts if t.get_text() in ("R", "L")] for figure in (flat, volume)]
    assert [len(texts) for texts in sides] == [0, 20]
    assert len(shown_slice(1).frames) == 1  # a close-up would show most of the slice


def test_figures_explain_themselves():
    shown = shown_slice()
    for figure in (case_figure(shown), cases_figure([shown]), class_figure(shown), probability_figure(shown)):
        words = words_of(figure)
        assert "a$b$ <i>, axial slice 4" in words
        assert "of 5 cases by Dice" in words
        assert "loss 1" in words
    words = words_of(class_figure(shown))
    assert all(key in words for key in ("a b", "true positive", "wrong class", "threshold 0.5"))
    assert "probability of any class, from 0 (black)" in words_of(probability_figure(shown))
    assert "outline of the reference" in words_of(case_figure(shown))
    masks = replace(shown, losses=tuple(replace(each, trained=False) for each in shown.losses))
    assert "probability" not in words_of(case_figure(masks))
    assert "another class" in case_words(shown)
    assert "another class" not in case_words(shown_slice(1))
    assert cases_words([shown]).startswith("Median: a$b$ <i>, axial slice 4, of 5 cases")
    assert "k = 10 %" in words_of(hardest_figure(shown))


def test_captions_say_how_voxels_became_lesion():
    shown = shown_slice()
    by_argmax = replace(shown, losses=tuple(replace(each, threshold=None) for each in shown.losses))
    assert "(threshold 0.5 for any class, then the most probable class)" in class_words(shown)
    assert "(most probable class)" in class_words(by_argmax)
    assert error_words(by_argmax).endswith("; most probable class.")
    assert error_words(shown_slice(classes=1)).endswith("; threshold 0.5.")


def test_many_losses_go_below_and_keep_their_width():
    narrow, wide = (case_figure(shown_slice(1, losses=losses, flat=True)) for losses in (2, 13))
    assert wide.get_size_inches()[0] < 1.6 * MOST_COLUMNS
    assert wide.get_size_inches()[1] > 2 * narrow.get_size_inches()[1]


def test_cases_of_figures_are_worst_median_and_best():
    assert pictured("abcdefg") == {"worst": "a", "median": "d", "best": "g"}
    assert pictured("ab") == {"median": "a", "best": "b"}
    assert pictured("a") == {"median": "a"}
    assert pictured("") == {}


def test_without_probabilities_of_classes_topk_is_left_out():
    shown = shown_slice()
    assert can_rank(shown)
    assert not can_rank(replace(shown, losses=tuple(replace(each, of_classes=None) for each in shown.losses)))
    assert not can_rank(replace(shown, reference=shown.reference * 0))


def test_a_report_writes_the_figures_and_shows_them_folded(tmp_path: Path):
    made = Made(patients=3, losses=("dice_ce", "topk_dice(k=30)"), folds=3, seeds=(1,), metrics=("dice",), **TINY_CASES)
    folder = make_run(tmp_path / "run", made)
    content = collect_content(ll.load(folder), "none")
    assert run_k(content.cards) == 30
    ll.write_report(ll.load(folder), formats=())
    written = {path.stem for path in (folder / "figures").glob("case*.svg")}
    assert written == CASE_FIGURES
    page = (folder / "report.html").read_text()
    for name in CASE_FIGURES - {"case-worst", "case-median"}:
        assert f'<details class="sheet" id="figure-{name}">' in page
        drawn = (folder / "figures" / f"{name}.svg").read_text()
        assert "topk_dice(k=30)" in drawn
        assert ("<image" in drawn) == (name != "case-hardest-curves")
    assert "k = 30 %" in page
    assert "leaves out is not shown" not in page


def test_curves_name_every_loss():
    from lesionloss.report.loss_styles import LossStyle

    shown = shown_slice()
    figure = hardest_curves(shown, {each.loss: LossStyle("#0072b2", "o") for each in shown.losses})
    assert "loss 0" in words_of(figure)
    assert "loss 1" in words_of(figure)
