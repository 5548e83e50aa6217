"""Names and options of metrics, empty cases, penalties."""

import math

import numpy as np
import pytest

from lesionloss.errors import UsageError
from lesionloss.metrics import Case, Empty, choose, metric, metrics, penalised, score
from lesionloss.metrics.registry import Better, forget

LESION = np.zeros((240, 240, 155), dtype=bool)
LESION[10:14, 10:14, 10:14] = True
NOTHING = np.zeros_like(LESION)


def case(pred, ref):
    return Case(pred, ref, spacing_mm=(1, 1, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dise", "no metric is named 'dise'; did you mean 'dice'"),
        ("lesion_f1(conectivity=6)", "no option 'conectivity'; did you mean 'connectivity'"),
        ("lesion_f1(connectivity='6')", "expected numbers, True or False"),
        ("lesion_f1(connectivity=[6])", "expected numbers, True or False"),
        ("lesion_f1(connectivity=__import__('os'))", "expected numbers, True or False"),
        ("lesion_f1(released_bound=1)", "can't be 1"),
        ("lesion_f1(6)", "can't read metric"),
        ("lesion_f1(**{})", "can't read metric"),
        ("lesion f1", "can't read metric"),
        ("a.b", "can't read metric"),
        ("", "can't read metric"),
    ],
)
def test_mistakes_are_explained(text, message):
    with pytest.raises(UsageError, match=message.replace("(", r"\(").replace(")", r"\)")):
        score(case(LESION, LESION), [text])


def test_a_text_instead_of_a_list():
    with pytest.raises(UsageError, match=r"write \['dice'\]"):
        score(case(LESION, LESION), "dice")


def test_options_are_literals_and_defaults_stay():
    chosen = choose("lesion_f1(connectivity=26, outside=0.8)")
    assert chosen.options["connectivity"] == 26
    assert chosen.options["outside"] == 0.8
    assert chosen.options["covered"] == 0.10


def test_a_miss_costs_the_diagonal_of_the_image():
    missed = case(NOTHING, LESION)
    assert penalised("hd95", score(missed, ["hd95"])["hd95"], missed) == pytest.approx(373.13, abs=5e-3)
    assert penalised("dice", 0.0, missed) == 0.0
    assert math.isnan(score(missed, ["precision"])["precision"])
    assert penalised("precision", math.nan, missed) == 0.0
    assert penalised("hd95", 3.5, case(LESION, LESION)) == 3.5


def test_nothing_to_find_is_no_miss():
    nothing = case(NOTHING, NOTHING)
    assert math.isnan(penalised("hd95", score(nothing, ["hd95"])["hd95"], nothing))
    assert math.isnan(penalised("dice", score(nothing, ["dice"])["dice"], nothing))


def register_half(name="half"):
    @metric(name, title="Half", unit="", direction=Better.HIGHER, source="test", empty=Empty(None, 1.0, 2.0))
    def half(one, *, of=1.0):
        return of / 2


def test_own_metrics_and_clashes():
    register_half()
    try:
        assert score(case(LESION, LESION), ["half", "half(of=3)"]) == {"half": 0.5, "half(of=3)": 1.5}
        assert score(case(NOTHING, LESION), ["half"]) == {"half": 0.5}
        assert score(case(LESION, NOTHING), ["half"]) == {"half": 1.0}
        assert score(case(NOTHING, NOTHING), ["half"]) == {"half": 2.0}
        with pytest.raises(UsageError, match="'half' exists already"):
            register_half()
    finally:
        forget("half")
    assert "half" not in [record.name for record in metrics()]


def test_an_option_needs_a_default():
    with pytest.raises(UsageError, match="'of' has no default"):

        @metric("no_default", title="", unit="", direction=Better.HIGHER, source="", empty=Empty(None, None, None))
        def no_default(one, of):
            return of
