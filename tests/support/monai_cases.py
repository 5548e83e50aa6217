"""Inputs and figures of the tests that MONAI has for its losses (1.6, tests/losses), and what gives them here.

A batch is written in a line: images are separated by `;`, their channels by `|`, rows by `/`. The `figure` of a case is
what MONAI's test expects; `here` is the loss that has it, times `factor`, and `why_not` why there is none.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

TANH = "its activation (tanh, log-softmax) gives no probabilities"
NO_ACTIVATION = "its Dice part takes the logits without an activation, its cross-entropy with one"
SOFT_LABEL = "soft_label=True is another definition (Wang 2023), which is 0 where probabilities equal soft labels"
SMOOTHING = "the figure is the smoothing itself: 1e-3 in the denominator only"
ABSENT = "a class that is absent costs 0 there, whatever is predicted; here false positives count"
ONE_RATIO = "sigmoids that are no classes of one whole enter one ratio there"


@dataclass(frozen=True)
class MonaiCase:
    """One case; `theirs`: arguments there, `options`: of `build`, `adapter`: of `as_monai`."""

    theirs: dict[str, Any]
    input: str
    target: str
    figure: Any
    here: str
    options: dict[str, Any] = field(default_factory=dict)
    adapter: dict[str, Any] = field(default_factory=dict)
    factor: float = 1.0
    probabilities: bool = False
    why_not: str = ""


def numbers(text: str) -> Tensor:
    """A batch (B, C, rows, columns), or (B, C, columns) where no image has rows."""
    images = [
        [[[float(value) for value in row.split()] for row in channel.split("/")] for channel in image.split("|")]
        for image in text.split(";")
    ]
    batch = torch.tensor(images)
    return batch if "/" in text else batch[:, :, 0]


ONE = ("1 -1 / -1 1", "1 0 / 1 1")
TWO = ("1 -1 / -1 1 ; 1 -1 / -1 1", "1 1 / 1 1 ; 1 0 / 1 0")
PARTS = (".3 .4 / .7 .9 ; 1 .1 / .5 .3", ".3 .4 / .7 .9 ; 1 .1 / .5 .3")
RIGHT = ("1 1 0 | 0 0 1 ; 1 0 1 | 0 1 0", "0 0 1 ; 0 1 0")
CLASSES = ("-1 0 1 | 1 0 -1 ; 0 0 0 | 0 0 0", "1 0 0 ; 1 1 0")
THREE = ("1 1 / .5 0 | 1 1 / .5 0 | 1 1 / .5 0", "0 1 / 2 0")
ONE_HOT = (THREE[0], "1 0 / 0 1 | 0 1 / 0 0 | 0 0 / 1 0")
MIDDLE = " / ".join(["1 1 1 1 1"] * 2 + ["1 1 0 1 1"] + ["1 1 1 1 1"] * 2)
CENTRE = " / ".join(["0 0 0 0 0"] * 2 + ["0 0 1 0 0"] + ["0 0 0 0 0"] * 2)
FLAT = " / ".join(["1 1 1 1 1"] * 5) + " | " + " / ".join(["0 0 0 0 0"] * 5)
FOCAL, TVERSKY = "focal(lesion=1, background=1)", "tversky(fp=0.5, fn=0.5)"
WEIGHTED = "focal(lesion=0.8, background=0.2)"
SIGMOIDS = {"multilabel": True}
WITH_BACKGROUND = {"include_background": True}
WITHOUT = {"include_background": False}


def no(why: str, theirs: dict[str, Any], batch: tuple[str, str], figure: float) -> MonaiCase:
    return MonaiCase(theirs, *batch, figure, "", why_not=why)


def overlap(text: str) -> list[MonaiCase]:
    """What Dice and Tversky with equal weights have in common."""
    return [
        MonaiCase({"sigmoid": True}, *ONE, 0.307576, text),
        MonaiCase({"sigmoid": True}, *TWO, 0.416657, text),
        no(SOFT_LABEL, {"soft_label": True}, PARTS, 0.0),
        MonaiCase({"soft_label": False}, *PARTS, 0.307773, text, probabilities=True),
        MonaiCase({**WITHOUT, "to_onehot_y": True}, *RIGHT, 0.0, text, probabilities=True),
        MonaiCase({"to_onehot_y": True, "sigmoid": True}, *CLASSES, 0.435050, text, SIGMOIDS),
        MonaiCase({"to_onehot_y": True, "softmax": True}, *CLASSES, 0.383713, text, adapter=WITH_BACKGROUND),
        no(TANH, {"other_act": "tanh"}, TWO, 0.999963),
    ]


SUM, NONE = {"reduction": "sum"}, {"reduction": "none"}
CASES: dict[str, list[MonaiCase]] = {
    "DiceLoss": [
        *overlap("dice"),
        MonaiCase({"sigmoid": True, **NONE}, *CLASSES, [[0.296529, 0.415136], [0.599976, 0.428559]],
                  "dice", SIGMOIDS, NONE),
        MonaiCase({"softmax": True, **SUM}, *CLASSES, 1.534853, "dice", adapter=WITH_BACKGROUND | SUM, factor=2),
        MonaiCase({"sigmoid": True}, *ONE, 0.307576, "dice"),
        MonaiCase({"sigmoid": True, "squared_pred": True}, *ONE, 0.178337, "dice(squared=True)"),
        MonaiCase({"sigmoid": True, "jaccard": True}, *ONE, 0.470451, "jaccard"),
        no(TANH, {"other_act": "log_softmax"}, CLASSES, -8.522593),
        no(TANH, {"other_act": "tanh", "batch": True}, TWO, 0.774718),
        no(TANH, {"other_act": "tanh", "batch": True, "smooth_nr": 0}, TWO, 0.774733),
        no(TANH, {"other_act": "tanh", "smooth_nr": 0}, TWO, 0.840058),
        no(TANH, {"other_act": "log_softmax", "weight": (0, 1)}, CLASSES, -8.268515),
    ],
    "DiceCELoss": [
        no(NO_ACTIVATION, {"to_onehot_y": True}, RIGHT, 0.3133),
        no(NO_ACTIVATION, {}, (RIGHT[0], RIGHT[0]), 0.3133),
        no(NO_ACTIVATION, {"target": "uint8"}, (RIGHT[0], RIGHT[0]), 0.3133),
        no(NO_ACTIVATION, {**WITHOUT, "weight": (1, 1)}, ("100 100 0 | 0 0 1 ; 1 0 1 | 0 1 0", RIGHT[1]), 0.2088),
        no(NO_ACTIVATION, {**WITHOUT, "lambda_ce": 2}, ("100 100 0 | 0 0 1 ; 1 0 1 | 0 1 0", RIGHT[1]), 0.4176),
        no(NO_ACTIVATION, {**WITHOUT, "weight": (0, 1)}, ("100 100 0 | 0 0 1 ; 1 0 1 | 0 1 0", RIGHT[1]), 0.3133),
        MonaiCase({"sigmoid": True, "weight": (0.5,)}, ".8 .6 0 ; 0 0 .9", "0 0 1 ; 0 1 0", 1.445239,
                  "dice + weighted_cross_entropy(lesion=0.5, background=1, normalise=False)"),
    ],
    "TverskyLoss": [
        *overlap(TVERSKY),
        no(SMOOTHING, {**WITHOUT, "smooth_nr": 0, "smooth_dr": 1e-3}, RIGHT, 0.000999),
        MonaiCase({"sigmoid": True, "batch": True}, *CLASSES, 0.422979, TVERSKY, SIGMOIDS | {"pooled": True}),
        MonaiCase({"sigmoid": True, **SUM}, *CLASSES, 1.74013, TVERSKY, SIGMOIDS, SUM, factor=2),
        MonaiCase({"softmax": True, **NONE}, *CLASSES, [[0.210961, 0.295339], [0.599952, 0.428547]],
                  TVERSKY, adapter=WITH_BACKGROUND | NONE),
        MonaiCase({"sigmoid": True, "alpha": 0.3, "beta": 0.7}, *ONE, 0.3589, "tversky(fp=0.3, fn=0.7)"),
        MonaiCase({"sigmoid": True, "alpha": 0.7, "beta": 0.3}, *ONE, 0.247366, "tversky(fp=0.7, fn=0.3)"),
        no(TANH, {"other_act": "tanh", "batch": True}, TWO, 0.999963),
        no(TANH, {"other_act": "log_softmax"}, CLASSES, -8.533317),
    ],
    "FocalLoss": [
        MonaiCase({"to_onehot_y": True}, *THREE, 0.34959, FOCAL, SIGMOIDS),
        MonaiCase({}, *ONE_HOT, 0.34959, FOCAL, SIGMOIDS),
        MonaiCase(WITHOUT, *THREE, 0.36498, FOCAL, SIGMOIDS, WITHOUT),
        MonaiCase({"alpha": 0.8}, *THREE, 0.08423, WEIGHTED, SIGMOIDS),
        MonaiCase(NONE, *THREE, [[0.02266, 0.70187, 0.37741, 0.17329, 0.70187, 0.02266, 0.37741, 0.17329,
                                  0.70187, 0.70187, 0.06757, 0.17329]], FOCAL, SIGMOIDS, NONE),
        MonaiCase({"weight": (0.5, 0.1, 0.2), **NONE}, *THREE,
                  [[0.01133, 0.35093, 0.18871, 0.08664, 0.07019, 0.00227, 0.03774, 0.01733,
                    0.14037, 0.14037, 0.01352, 0.03466]],
                  FOCAL, SIGMOIDS | {"class_weights": (0.5, 0.1, 0.2)}, NONE, factor=0.8 / 3),
        MonaiCase({"use_softmax": True}, *THREE, 0.16276, FOCAL, factor=1 / 3),
        MonaiCase({"use_softmax": True, "alpha": 0.8}, *THREE, 0.08138, WEIGHTED, factor=1 / 3),
        MonaiCase({}, FLAT, f"{MIDDLE} | {CENTRE}", 0.1116, FOCAL, SIGMOIDS),
        MonaiCase(WITHOUT, FLAT, f"{MIDDLE} | {CENTRE}", 0.1733, FOCAL, SIGMOIDS, WITHOUT),
    ],
    "GeneralizedDiceLoss": [
        MonaiCase({"sigmoid": True}, *ONE, 0.307576, "dice"),
        MonaiCase({"sigmoid": True}, *TWO, 0.416597, "dice"),
        no(SOFT_LABEL, {"soft_label": True}, PARTS, 0.0),
        MonaiCase({"soft_label": False}, *PARTS, 0.307748, "dice", probabilities=True),
        MonaiCase({**WITHOUT, "to_onehot_y": True}, *RIGHT, 0.0, "dice", probabilities=True),
        no(ONE_RATIO, {"to_onehot_y": True, "sigmoid": True}, CLASSES, 0.469964),
        MonaiCase({"softmax": True}, *CLASSES, 0.414507, "generalised_dice"),
        MonaiCase({"softmax": True, **SUM}, *CLASSES, 0.829015, "generalised_dice", adapter=SUM),
        MonaiCase({"softmax": True, **NONE}, *CLASSES, [[0.273476], [0.555539]], "generalised_dice", adapter=NONE),
        no(ABSENT, {**WITHOUT, "smooth_nr": 1e-8, "smooth_dr": 1e-8}, (RIGHT[0], "0 0 0 ; 0 0 0"), 0.0),
        MonaiCase({"sigmoid": True}, *ONE, 0.307576, "dice"),
        MonaiCase({"softmax": True, "w_type": "simple"}, "0 10 10 10 | 10 0 0 0", "1 1 0 0", 0.250023,
                  "generalised_dice(power=1)"),
        no(TANH, {"other_act": "tanh"}, TWO, 0.99970),
        no(TANH, {"other_act": "log_softmax"}, CLASSES, -0.097833),
    ],
}  # fmt: skip
