"""Charts of single training runs."""

from lesionloss.report.epoch_charts import training_runs_chart
from lesionloss.report.loss_styles import LossStyle
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
