"""Calls as text: one reader, and the same message for the same mistake in all rooms."""

from collections.abc import Callable

import pytest

from lesionloss.core.call_text import format_call, parse_call
from lesionloss.core.errors import UsageError
from lesionloss.data.batches.augmentation import parse_augmentation
from lesionloss.losses.spec import parse
from lesionloss.metrics import choose
from lesionloss.networks import check_network
from lesionloss.training.optimisers import check_optimiser

READERS: dict[str, tuple[Callable[[str], object], str]] = {
    "loss": (parse, "tversky"),
    "metric": (choose, "nsd"),
    "network": (check_network, "unet3d"),
    "optimiser": (check_optimiser, "sgd"),
    "augment": (lambda text: parse_augmentation([text]), "rotate"),
}


def test_a_call_is_read_and_written_back() -> None:
    assert parse_call(" f ", "network") == ("f", {})
    text = "f(a=1, b=-0.5, c='word', d=(1, 2), e=None)"
    name, keywords = parse_call(text, "network")
    assert keywords == {"a": 1, "b": -0.5, "c": "word", "d": (1, 2), "e": None}
    assert format_call(name, keywords) == text


@pytest.mark.parametrize("noun", READERS)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}(", "it does not parse"),
        ("{}(**{{}})", "** is not allowed"),
        ("{}(x=1, x=2)", "'x' is given twice"),
        ("{}(x=open('y'))", "the value of 'x' must be a plain number or word"),
        ("a.{}", "'a.{}' is no NOUN"),
        ("{}" + "(x=" + "(" * 300, "it does not parse"),
    ],
)
def test_the_same_mistake_has_the_same_message_everywhere(noun: str, text: str, reason: str) -> None:
    read, name = READERS[noun]
    text, reason = text.format(name), reason.format(name).replace("NOUN", noun)
    with pytest.raises(UsageError) as error:
        read(text)
    assert str(error.value).startswith(f"{noun} {text!r} can't be read: {reason}; write ")


@pytest.mark.parametrize("noun", READERS)
@pytest.mark.parametrize("value", ["{[]: 1}", "{[]}", "[{[]: 1}]", "-{[]: 1}", "1e999", "-" * 5000 + "1", "{**{}}"])
def test_no_value_ends_in_another_error(noun: str, value: str) -> None:
    read, name = READERS[noun]
    for text in (f"{name}(x={value})", f"{name}({value})", f"{value}*{name}", f"{name}*{value}"):
        with pytest.raises(UsageError) as error:
            read(text)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("noun", READERS)
@pytest.mark.parametrize("text", [None, 3, ["dice"]])
def test_only_text_is_read(noun: str, text: object) -> None:
    if noun != "augment":
        with pytest.raises(UsageError):
            READERS[noun][0](text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("noun", "text", "message"),
    [
        ("loss", "tversky(fnn=1)", "loss tversky has no hyperparameter 'fnn'; did you mean 'fn'?"),
        ("metric", "nsd(tolerance=1)", "metric nsd has no option 'tolerance'; did you mean 'tolerance_mm'?"),
        ("optimiser", "sgd(momentun=1)", "optimiser sgd has no setting 'momentun'; did you mean 'momentum'?"),
        ("augment", "rotate(degree=1)", "augment: rotate has no setting 'degree'; did you mean 'degrees'?"),
        ("loss", "tversky(fn=-1)", "loss tversky: fn must be a number >= 0; got -1"),
        ("metric", "nsd(tolerance_mm=-1)", "metric nsd: tolerance_mm must be a number >= 0; got -1"),
        ("optimiser", "sgd(momentum='a')", "optimiser sgd: momentum must be a number from 0 to 0.999999; got 'a'"),
        ("augment", "rotate(degrees=True)", "augment: rotate: degrees must be a number from 0 to 180; got True"),
    ],
)
def test_unknown_keywords_and_wrong_values(noun: str, text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        READERS[noun][0](text)
    assert str(error.value).startswith(message)
