"""Writes tests/golden/losses.json, values of every loss by plain loops: `python tests/make_golden.py`."""

import json
from pathlib import Path

import numpy as np

import lesionloss as ll
from losses_by_hand import value
from random_batches import Batch, random_batch, random_hyperparameters

PLACE = Path(__file__).parents[1] / "losses" / "golden" / "losses.json"
CASES_PER_LOSS = 5
WITH_GRADIENT = 2  # of these
STEP = 1e-5


def small(batch: Batch) -> Batch:
    """At most two images and thirty voxels: the file is read by people too."""
    return Batch(batch.logits[:2], batch.labels[:2], None if batch.valid is None else batch.valid[:2])


def gradient(name: str, given: dict, batch: Batch, pooled: bool, background: bool) -> list:
    """Central differences, refined once: exact to about 1e-9."""
    logits, labels, valid = batch.flat
    options = {"valid": valid, "pooled": pooled, "background": background, "space": batch.space}
    slopes = np.empty_like(logits)
    for place in np.ndindex(*logits.shape):
        found = []
        for step in (STEP, 2 * STEP):
            ends = []
            for sign in (1, -1):
                moved = logits.copy()
                moved[place] += sign * step
                ends.append(value(name, given, moved, labels, **options))
            found.append((ends[0] - ends[1]) / (2 * step))
        slopes[place] = (4 * found[0] - found[1]) / 3
    return np.round(slopes, 9).reshape(batch.logits.shape).tolist()


def case(name: str, defaults: dict, number: int) -> dict:
    batch = small(random_batch("golden", name, number, channels=1 + number % 2 if name == "hytver_released" else None))
    given = {} if number == 0 else random_hyperparameters(defaults, "golden", name, number)
    pooled, background = number % 3 == 2, number % 4 == 3
    logits, labels, valid = batch.flat
    smooth = number < WITH_GRADIENT and "topk" not in name
    inside = ", ".join(f"{key}={choice!r}" for key, choice in given.items())
    return {
        "spec": f"{name}({inside})" if inside else name,
        "pooled": pooled,
        "background": background,
        "logits": batch.logits.tolist(),
        "labels": batch.labels.tolist(),
        "valid": None if batch.valid is None else batch.valid.astype(int).tolist(),
        "value": value(
            name, given, logits, labels, valid=valid, pooled=pooled, background=background, space=batch.space
        ),
        "gradient": gradient(name, given, batch, pooled, background) if smooth else None,
    }


def all_cases() -> list[dict]:
    return [
        case(record.name, record.defaults, number) for record in ll.list_losses() for number in range(CASES_PER_LOSS)
    ]


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(found) for found in all_cases())
    PLACE.parent.mkdir(exist_ok=True)
    PLACE.write_text(f'{{"cases": [\n{lines}\n]}}\n')
