"""The formulas of all losses become MathML that says the same; a formula that is none is refused."""

import re
from xml.etree import ElementTree

import pytest

from lesionloss.losses import loss_docs, registry
from mathml import FormulaError, formula_html, lines_html, math_html

NAMES = {record.name for record in registry.list_losses()}
SAME = {"−": "-", "∑": "Σ", "γ": "gamma", "δ": "delta", "α": "alpha", "ε": "epsilon", "≥": ">=", "≤": "<=", "…": ".."}


def letters(text: str) -> str:
    """Letters, digits and operators, without what only arranges them."""
    for shown, written in SAME.items():
        text = text.replace(shown, written)
    for raised, digit in zip("⁰¹²³½", ("0", "1", "2", "3", "12"), strict=True):
        text = text.replace(raised, digit)
    return re.sub(r"[^\w+=<>|⌈⌉√-]|_", "", text).replace("√", "")


@pytest.mark.parametrize("record", registry.list_losses(), ids=lambda record: record.name)
def test_a_formula_keeps_every_symbol(record: registry.LossRecord) -> None:
    formula = loss_docs.sections(record)["Formula"]
    shown = formula_html(formula, {*record.defaults, *NAMES})
    text = "".join(ElementTree.fromstring(f"<p>{shown}</p>").itertext())
    assert "<math" in shown
    assert sorted(letters(text)) == sorted(letters(formula))


def test_a_fraction_holds_the_product_before_and_behind_the_stroke() -> None:
    assert math_html(["a", "b", "/", "(", "c", "+", "1", ")"]).count("<mfrac>") == 1
    shown = formula_html("1 - (TP + s) / (TP + fp·FP + s)", {"fp"})
    above, below = re.search(r"<mfrac><mrow>(.*)</mrow><mrow>(.*)</mrow></mfrac>", shown).groups()
    assert "".join(ElementTree.fromstring(f"<p>{above}</p>").itertext()) == "TP+s"
    assert "".join(ElementTree.fromstring(f"<p>{below}</p>").itertext()) == "TP+fp·FP+s"


def test_a_sum_over_an_index_stands_before_its_fraction() -> None:
    assert re.search(r"</munder><mfrac>", formula_html("mean w Σ_(j>=gamma) q^j / j"))


def test_lines_are_formulas() -> None:
    assert lines_html("a = b  c = d\ne = f").count("<math>") == 3


@pytest.mark.parametrize("wrong", ["(a + b", "a + b)", "a /", "√"])
def test_what_is_no_formula_is_refused(wrong: str) -> None:
    with pytest.raises(FormulaError):
        lines_html(wrong)
