"""Every public function says in one line which type it takes."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

import lesionloss as ll

MASK = np.zeros((4, 4, 4), dtype=bool)
CASE = ll.Case(MASK, MASK, spacing_mm=(1, 1, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ll.Case(MASK, MASK, spacing_mm=1), "spacing_mm: expected 3 positive numbers in mm, got 1"),
        (lambda: ll.Case(MASK, MASK, spacing_mm="abc"), "spacing_mm: expected 3 positive numbers in mm, got 'abc'"),
        (lambda: ll.Case(MASK, MASK, spacing_mm=None), "spacing_mm: expected 3 positive numbers in mm, got None"),
        (
            lambda: ll.Case(MASK / 1, MASK, spacing_mm=(1, 1, 1), threshold="a"),
            "threshold: expected a number",
        ),
        (
            lambda: ll.Case(MASK, MASK, spacing_mm=(1, 1, 1), probability=np.full((4, 4, 4), None)),
            "probability: expected probabilities from 0 to 1, got dtype object",
        ),
        (
            lambda: ll.score((MASK, MASK), ["dice"]),
            "case: pass a Case(prediction, reference, spacing_mm=...)",
        ),
        (lambda: ll.score(CASE, 3), "names: pass a list of metrics"),
        (lambda: ll.score(CASE, (3,)), "metric: write NAME or NAME(key=value, ...) with plain values, got int 3"),
        (
            lambda: ll.build_network(3, torch.Generator()),
            "network: write a name, such as 'unet3d(filters=8)'",
        ),
        (lambda: ll.build_network("unet3d", 3), "generator: pass torch.Generator().manual_seed(1), got int 3"),
        (lambda: ll.loss(3, source="x")(ll.DeepSupervision.forward), "name of a loss: write a text, got int 3"),
        (lambda: ll.Plan.preset(3), "preset: give a name, got int 3"),
        (lambda: ll.Plan.load(3), "plan: give the path of a TOML file, got int 3"),
        (lambda: ll.run("quickstart", "x"), "plan: pass Plan.load(file) or Plan.preset(name), got str 'quickstart'"),
        (lambda: ll.run(ll.Plan.preset("quickstart"), 3), "out: give the path of a folder, got int 3"),
        (lambda: ll.load(3), "run: give the path of a folder, got int 3"),
        (lambda: ll.compare("runs/x"), "results: pass lesionloss.load(folder), got str 'runs/x'"),
        (lambda: ll.write_report("runs/x"), "results: pass lesionloss.load(folder), got str 'runs/x'"),
    ],
)
def test_another_type_is_refused_in_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ll.LesionLossError, match=re.escape(message)) as caught:
        call()
    assert "\n" not in str(caught.value)
