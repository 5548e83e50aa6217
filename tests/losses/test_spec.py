"""Text and weighted sums."""

import pytest

from lesionloss.core.errors import UsageError
from lesionloss.losses.spec import parse


@pytest.mark.parametrize(
    "text",
    [
        "dice",
        "0.5*dice + 0.5*focal(gamma=2)",
        "tversky(fp=0.2, fn=0.8)",
        "dice(squared=True) + 3*cross_entropy",
        "weighted_gradient(gamma=3, lesion=None)",
        "1e-05*dice + dice_ce",
        "(1, 0.01)*dice_ce + (0.01, 1)*boundary",
        "(0, 2)*dice",
    ],
)
def test_text_comes_back(text: str) -> None:
    assert str(parse(text)) == text


def test_spacing_and_a_weight_of_one_are_made_canonical() -> None:
    assert str(parse("  1*dice+0.50 * focal( gamma = 2 ) ")) == "dice + 0.5*focal(gamma=2)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dise", "did you mean 'dice'"),
        ("tversky(fpp=0.2)", "did you mean 'fp'"),
        ("cross_entropy(gamma=2)", "no hyperparameters"),
        ("tversky(0.3, 0.7)", "name the hyperparameters of tversky: tversky(fp=0.3, fn=0.7)"),
        ("tversky(fn=-0.1)", "fn must be a number >= 0; got -0.1"),
        ("tversky(fn=1e999)", "fn must be a number"),
        ("hytver(fn=1.5)", "fn must be a number from 0 to 1; got 1.5"),
        ("dice_plus_plus(gamma=0.4)", ">= 0.5"),
        ("weighted_gradient(gamma=2.5)", "a whole number"),
        ("dice(squared=1)", "True or False"),
        ("tversky(fn=True)", "must be a number"),
        ("topk_dice(k=0)", "a number > 0 and <= 100"),
        ("dice - focal", "added, not subtracted"),
        ("-1*dice", "no positive number"),
        ("0*dice", "no positive number"),
        ("dice * 2", "write a weight before its loss"),
        (
            "(1, 2, 3)*dice",
            "the weight (1, 2, 3) must be two numbers >= 0, not both 0: at the first and at the last step",
        ),
        ("(0, 0.0)*dice", "not both 0"),
        ("(-1, 1)*dice", "two numbers >= 0"),
        ("(True, 1)*dice", "two numbers >= 0"),
        ("(1, 1e999)*dice", "two numbers >= 0"),
        ("()*dice", "two numbers >= 0"),
        ("2*(dice + focal)", "no loss"),
        ("dice(squared=__import__('os'))", "must be a plain number or word"),
        ("dice(**{'squared': True})", "** is not allowed"),
        ("dice(squared='yes')", "squared must be True or False; got 'yes'"),
        ("__import__('os').system('true')", "no loss"),
        ("lambda: 0", "no loss"),
        ("dice dice", "does not parse"),
        ("tversky(fn=0.5, fn=0.6)", "'fn' is given twice"),
        ("dice(smooth=1)", "the smoothing is 1e-5"),
        ("tversky(alpha=0.3)", "alpha: use fp="),
        ("focal(alpha=0.3)", "use lesion=alpha"),
        ("tversky(fn=1" + "0" * 400 + ")", "fn must be a number >= 0"),
        ("", "given as text"),
    ],
)
def test_anything_else_is_one_clear_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
