"""Every public function of metrics and inference answers a wrong argument with one line, or with a result."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lesionloss.core.errors import LesionLossError
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference import (
    Arithmetic,
    SlidingWindow,
    WholeImage,
    choose_inference_mode,
    lesion_mask,
    lesion_probability,
    predict_logits,
    predict_probabilities,
    predict_probability,
    read_inference_mode,
)
from lesionloss.inference.predict import (
    PredictSettings,
    own_sliding_window,
    predict_cases,
    source_of_files,
    sources_in,
)
from lesionloss.metrics import (
    Case,
    choose,
    class_cases,
    detection_by_size,
    is_lesion,
    lesion_table,
    mdice,
    miou,
    penalised,
    score,
    score_classes,
)
from lesionloss.metrics.thresholds import count_thresholds, threshold_range
from predict_cases import bundle_of

MASK = np.zeros((4, 4, 4), bool)
MASK[1, 1, 1] = True
MAP = MASK / 1.0
CASE = Case(MAP, MASK, spacing_mm=(1, 1, 1), brain=~MASK)
PREPARED = PreparedCase(
    *("a", "a", MASK[None].astype(np.float32), ("c",), MASK.astype(np.uint8), ~MASK, np.eye(4), (0, 0, 0), (4, 4, 4))
)
NETWORK = nn.Conv3d(1, 1, 1)
BUNDLE = bundle_of()
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 3, 10**400, 0.5, float("nan"), float("inf"), 1j, "", "a", "0.5", "123", b"x"),
    *((), [], [1], [[1]], [None], {}, {"a": 1}, set(), object(), int, len, range(3), Path("x"), CASE),
    *(np.zeros(3), np.zeros((3, 3)), np.array([None] * 3), np.zeros((4, 4, 4), "M8[s]"), np.zeros((4, 4, 4), complex)),
    *(np.full((4, 4, 4), np.nan), np.zeros((2, 2)), np.zeros((4, 4, 4), int), np.full((4, 4, 4), 7)),
    *(torch.zeros(3), torch.zeros(4, 4, 4), torch.zeros(2, requires_grad=True)),
)
DOORS: tuple[tuple[Callable[..., Any], dict[str, Any]], ...] = (
    (
        Case,
        {
            "prediction": MASK,
            "reference": MASK,
            "spacing_mm": (1, 1, 1),
            "brain": None,
            "ignore": None,
            "threshold": 0.5,
            "probability": None,
        },
    ),
    (score, {"case": CASE, "names": ["dice"]}),
    (choose, {"text": "dice"}),
    (penalised, {"name": "dice", "value": 1.0, "case": CASE}),
    (is_lesion, {"probability": MAP, "threshold": 0.5}),
    (lesion_table, {"case": CASE, "connectivity": 6, "min_volume_mm3": 3.0, "min_voxels": None}),
    (detection_by_size, {"rows": lesion_table(CASE), "edges_mm3": (1.0, 2.0)}),
    (
        class_cases,
        {"prediction": MASK * 1, "reference": MASK * 1, "spacing_mm": (1, 1, 1), "classes": (1,), "ignore": None},
    ),
    (score_classes, {"cases": {1: CASE}, "names": ["dice"]}),
    (mdice, {"cases": {1: CASE}}),
    (count_thresholds, {"probability": MAP, "reference": MASK, "thresholds": (0.2, 0.5), "ignore": None}),
    (threshold_range, {"text": "0.1:0.9:0.1"}),
    (
        predict_probabilities,
        {
            "network": NETWORK,
            "case": PREPARED,
            "mode": WholeImage(),
            "mirrored": (),
            "arithmetic": Arithmetic(),
            "device": "cpu",
        },
    ),
    (
        predict_probability,
        {
            "network": NETWORK,
            "case": PREPARED,
            "mode": SlidingWindow((4,)),
            "precision": "float32",
            "device": "cpu",
        },
    ),
    (
        predict_logits,
        {
            "network": NETWORK,
            "image": torch.zeros(1, 4, 4, 4),
            "mode": WholeImage(),
            "mirrored": (),
            "arithmetic": Arithmetic(),
        },
    ),
    (
        lesion_mask,
        {
            "probabilities": MASK[None].astype(np.float32),
            "threshold": 0.5,
            "voxel_mm3": 1.0,
            "min_volume_mm3": 0.5,
            "decision": "threshold",
            "connectivity": 6,
        },
    ),
    (lesion_probability, {"probabilities": MASK[None].astype(np.float32)}),
    (read_inference_mode, {"text": "whole"}),
    (
        SlidingWindow,
        {"size": (4,), "overlap": 0.5, "stride": (), "gaussian": True, "of_probabilities": False, "batch": 1},
    ),
    (
        choose_inference_mode,
        {
            "network": NETWORK,
            "shape": (1, 4, 4, 4),
            "own": SlidingWindow((4, 4, 4)),
            "precision": "float32",
            "device": "cpu",
            "free": None,
        },
    ),
    (
        predict_cases,
        {
            "bundle": BUNDLE,
            "sources": [source_of_files([], [Path("x.nii.gz")])],
            "out": Path("never-written"),
            "settings": PredictSettings(),
            "folder_each": True,
            "bids": False,
            "progress": None,
        },
    ),
    (source_of_files, {"baseline": [], "followup": [Path("x.nii.gz")], "brain": None}),
    (sources_in, {"place": "x"}),
    (own_sliding_window, {"bundle": BUNDLE}),
    (
        PredictSettings,
        {
            "threshold": 0.5,
            "min_volume_mm3": None,
            "connectivity": 6,
            "mode": None,
            "mirrored": (),
            "register": None,
            "precision": "float32",
            "device": "cpu",
            "force": False,
        },
    ),
    (miou, {"cases": {1: CASE}}),
)


@pytest.mark.parametrize(
    ("door", "name"),
    [
        pytest.param((function, arguments), name, id=f"{function.__name__}-{name}")
        for function, arguments in DOORS
        for name in arguments
    ],
)
def test_a_wrong_argument_is_one_line(
    door: tuple[Callable[..., Any], dict[str, Any]], name: str, tmp_path, monkeypatch
) -> None:
    function, arguments = door
    monkeypatch.chdir(tmp_path)
    function_works = function not in (predict_cases, sources_in)  # whose files are not there
    if function_works:
        function(**arguments)
    for odd in ODD:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                function(**{**arguments, name: odd})
            except LesionLossError as error:
                message = str(error)
            else:
                message = ""
        assert "\n" not in message


def test_an_array_is_no_threshold() -> None:
    with pytest.raises(LesionLossError, match=r"threshold: expected a number from 0 to 1, got array\(\[0.1, 0.2\]\)"):
        Case(MAP, MASK, spacing_mm=(1, 1, 1), threshold=np.array([0.1, 0.2]))
    with pytest.raises(LesionLossError, match="spacing_mm: expected 3 positive numbers in mm, got '123'"):
        Case(MAP, MASK, spacing_mm="123")


def test_a_precision_that_is_none_is_refused() -> None:
    """It was taken as float32."""
    with pytest.raises(LesionLossError, match="precision must be one of float32, bf16, fp16, got 'float16'"):
        Arithmetic("float16")
