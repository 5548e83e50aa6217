"""Charts of single training runs, and names of losses that are too long for a line."""

from lesionloss.report.epoch_charts import training_runs_chart
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.row_charts import name_lines
from lesionloss.report.training_runs import TrainingRunScore


def test_a_long_name_of_a_loss_leaves_room_for_the_numbers_beside_it():
    losses = ("dice", "focal(lesion=0.75, background=0.25)")
    runs = [
        TrainingRunScore("dice", split, loss, fold, 1, 6, 0.1 + 0.05 * fold, 1)
        for split in ("train_patches", "test")
        for loss in losses
        for fold in range(9)
    ]
    figure = training_runs_chart(runs, dict.fromkeys(losses, LossStyle("#0072b2", "o")), "Dice")
    axes = figure.axes[0]
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    for loss in losses:
        (note,) = [
            text for text in axes.texts if "n 9" in text.get_text() and text.get_position()[1] == row_of(axes, loss)
        ]
        assert boxes[loss].x1 < note.get_window_extent().x0


def row_of(axes, loss):
    return next(text.get_position()[1] for text in axes.texts if text.get_text() == loss)


def test_long_names_are_broken_between_their_words():
    assert name_lines("dice", 32) == ["dice"]
    assert name_lines("asymmetric_unified_focal_plus_plus(gamma=0.1)", 32) == [
        "asymmetric_unified_focal_plus_",
        "plus(gamma=0.1)",
    ]
    assert name_lines("matched difference threshold (no training)", 32) == [
        "matched difference threshold",
        "(no training)",
    ]
    assert name_lines("0.5*dice+0.5*focal(gamma=2.0,lesion=0.75,power=1)", 24) == [
        "0.5*dice+0.5*focal(",
        "gamma=2.0,lesion=0.75,p…",
    ]
    assert name_lines("x" * 30, 24) == ["x" * 24, "x" * 6]
