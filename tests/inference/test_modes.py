"""Inference modes are read from text and written as text."""

import pytest

from lesionloss import UsageError
from lesionloss.inference import read_inference_mode


@pytest.mark.parametrize(
    "text", ["whole", "sliding_window(size=80, overlap=0.25)", "sliding_window(size=(16, 32, 8), stride=8)"]
)
def test_modes_are_read_and_written(text: str) -> None:
    mode = read_inference_mode(text)
    assert read_inference_mode(str(mode)) == mode
    assert str(mode) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hole", "no inference mode is named 'hole'; did you mean 'whole'"),
        ("sliding_window(sice=8)", "did you mean 'size'"),
        ("sliding_window()", "size is missing"),
        ("sliding_window(size=8, overlap=1)", "0 to below 1"),
        ("sliding_window(size=8, overlap=0.5, stride=4)", "not both"),
        ("sliding_window(size=0)", "1 or more"),
        ("sliding_window(size='8')", "is a int"),
        ("sliding_window(size=8, batch=True)", "is a int"),
        ("whole(size=8)", "takes no settings"),
        ("sliding_window(8)", "write NAME"),
    ],
)
def test_a_wrong_mode_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("(", r"\(")):
        read_inference_mode(text)
