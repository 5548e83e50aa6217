"""Laws that every registered metric must obey; a metric that is registered later is tested without another line."""

import itertools
import math

import numpy as np
import pytest

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import numpy_generator
from lesionloss.metrics import Case, choose, list_metrics, score
from lesionloss.metrics.metric_registry import Better, RequiredMap
from metrics_by_hand import random_pair

NAMES = [record.name for record in list_metrics()]
NAN, INF = math.nan, math.inf

F1, SENSITIVITY, PPV, DISTANCE = (0.0, 0.0, NAN), (0.0, NAN, NAN), (NAN, 0.0, NAN), (INF, INF, NAN)

# Raw values if only the prediction, only the reference, both are empty: 64 voxels of 2 mm3 in the mask that isn't,
# the map is 0.1 in the background and 0.9 in the prediction, 1000 voxels, brain everywhere.
EMPTY = {
    "dice": F1,
    "jaccard": F1,
    "precision": PPV,
    "recall": SENSITIVITY,
    "specificity": (1.0, 936 / 1000, 1.0),
    "npv": (936 / 1000, 1.0, 1.0),
    "mcc": F1,
    "panoptic_quality": F1,
    "auprc": (0.064, NAN, NAN),
    "froc": (0.0, NAN, NAN),  # its candidate, the whole image, overlaps the lesion too little
    "volume_mm3": (0.0, 128.0, 0.0),
    "reference_volume_mm3": (128.0, 0.0, 0.0),
    "volume_difference_mm3": (-128.0, 128.0, 0.0),
    "absolute_volume_difference_mm3": (128.0, 128.0, 0.0),
    "relative_volume_difference": (-1.0, INF, NAN),
    "nsd": F1,
    "nsd_surfel": F1,
    "lesion_f1": F1,
    "lesion_f1_overlap": F1,
    "lesion_sensitivity": SENSITIVITY,
    "lesion_sensitivity_overlap": SENSITIVITY,
    "lesion_ppv": PPV,
    "lesion_ppv_overlap": PPV,
    "missed_lesions": (1.0, 0.0, 0.0),
    "false_positive_lesions": (0.0, 1.0, 0.0),
    "false_positive_lesion_volume_mm3": (0.0, 128.0, 0.0),
    "brier": (0.01 + 0.064 * 0.8, 0.01 + 0.064 * 0.8, 0.01),
    "brier_two_class": (0.02 + 0.128 * 0.8, 0.02 + 0.128 * 0.8, 0.02),
    "nll": tuple(-(n * math.log(0.1) + (1000 - n) * math.log(0.9)) / 1000 for n in (64, 64, 0)),
    "nll_lesion_term": (-0.064 * math.log(0.1), 0.0, 0.0),
    "ece": (0.1 - 0.064, 0.936 * 0.1 + 0.064 * 0.9, 0.1),
    "ace": (0.1 - 0.064, 0.5, 0.1),
}
EMPTY |= {name: DISTANCE for name in NAMES if name.startswith(("hd", "asd", "assd"))}
EMPTY |= {f"{name}_brain": EMPTY[name] for name in ("nll", "brier", "ece", "ace")}
EMPTY |= {f"{name}_near": (EMPTY[name][0], NAN, NAN) for name in ("nll", "brier", "ece", "ace")}

SYMMETRIC = {
    "dice",
    "jaccard",
    "absolute_volume_difference_mm3",
    "hd",
    "hd95",
    "hd95_pooled",
    "assd",
    "nsd",
    "hd_surfel",
    "hd95_surfel",
    "nsd_surfel",
    "lesion_f1",
    "lesion_f1_overlap",
    "mcc",
    "panoptic_quality",
}


def lesion():
    mask = np.zeros((10, 10, 10), dtype=bool)
    mask[3:7, 3:7, 3:7] = True
    return mask


def mapped(pred, ref, spacing, **beside):
    """A case that has everything: a map that agrees with the mask, and a brain."""
    probability = np.where(pred, 0.9, 0.1)
    brain = np.ones(pred.shape, dtype=bool)
    return Case(probability, ref, spacing_mm=spacing, **{"brain": brain, **beside})


def noisy(number):
    """A pair with a map that holds many different probabilities."""
    pred, ref, spacing = random_pair(number)
    spread = numpy_generator("map", number).random(pred.shape)
    probability = np.where(pred, 0.5 + 0.5 * spread, 0.499 * spread)
    return probability, ref, spacing, spread > 0.2


@pytest.mark.parametrize("name", NAMES)
def test_empty_masks(name):
    nothing, something = np.zeros((10, 10, 10), dtype=bool), lesion()
    pairs = [(nothing, something), (something, nothing), (nothing, nothing)]
    got = [score(mapped(pred, ref, (1, 1, 2)), [name])[name] for pred, ref in pairs]
    assert got == pytest.approx(EMPTY[name], abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_prediction_is_the_best(name):
    direction = choose(name).metric.direction
    for number in range(1, 20):
        pred, ref, spacing = random_pair(number)
        perfect = Case(ref.astype(float), ref, spacing_mm=spacing, brain=np.ones_like(ref))
        best, other = (score(case, [name])[name] for case in (perfect, mapped(pred, ref, spacing)))
        if math.isnan(best) or math.isnan(other):
            assert name.startswith(("lesion_", "panoptic", "froc")), (
                "only pairs without a lesion of 3 mm3 may be undefined"
            )
            continue
        if direction is Better.HIGHER:
            assert best == 1
            assert other <= best
        elif direction is Better.LOWER:
            assert best == 0
            assert other >= best
        elif direction is Better.NEARER_ZERO:
            assert best == 0


@pytest.mark.parametrize("name", [record.name for record in list_metrics() if not record.needs])
def test_symmetric_where_declared_and_only_there(name):
    differences = []
    for number in range(60):
        pred, ref, spacing = random_pair(number)
        forth, back = (score(Case(a, b, spacing_mm=spacing), [name])[name] for a, b in ((pred, ref), (ref, pred)))
        if not (math.isnan(forth) or math.isnan(back)):
            differences.append(abs(forth - back))
    assert differences
    assert (max(differences) < 1e-12) == (name in SYMMETRIC)


@pytest.mark.parametrize("name", NAMES)
def test_permuting_and_flipping_axes_changes_nothing(name):
    for number in range(1, 12):
        probability, ref, spacing, brain = noisy(number)
        wanted = score(Case(probability, ref, spacing_mm=spacing, brain=brain), [name])
        for axes in itertools.permutations(range(ref.ndim)):
            turned = [np.flip(array.transpose(axes), axis=0) for array in (probability, ref, brain)]
            case = Case(turned[0], turned[1], spacing_mm=[spacing[axis] for axis in axes], brain=turned[2])
            assert score(case, [name]) == pytest.approx(wanted, rel=1e-6, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_ignored_voxels_never_matter(name):
    probability, ref, spacing, brain = noisy(7)
    ignore = numpy_generator("ignore").random(ref.shape) < 0.2
    values = []
    for flip in (False, True):
        changed = np.where(ignore & flip, 1 - probability, probability)
        case = Case(changed, ref ^ (ignore & flip), spacing_mm=spacing, brain=brain ^ (ignore & flip), ignore=ignore)
        values.append(score(case, [name])[name])
    assert values[0] == pytest.approx(values[1], abs=1e-12, nan_ok=True)
    assert not math.isnan(values[0])


@pytest.mark.parametrize("name", [record.name for record in list_metrics() if record.unit in ("mm", "mm3")])
def test_millimetres_scale_with_the_spacing(name):
    power = 1 if choose(name).metric.unit == "mm" else 3
    options = "(min_voxels=4)" if "lesion" in name else ""
    for number in range(1, 30):
        if number % 3 == 0:
            continue
        pred, ref, spacing = random_pair(number)
        one, two = (Case(pred, ref, spacing_mm=[step * scale for step in spacing]) for scale in (1, 2))
        text = name + options
        assert score(two, [text])[text] == pytest.approx(score(one, [text])[text] * 2**power, rel=1e-6)


@pytest.mark.parametrize("record", list_metrics(), ids=NAMES)
def test_records_are_complete(record):
    assert record.title
    assert record.source
    assert record.unit in ("", "mm", "mm3", "nats", "lesions")
    assert (record.worst is None) or record.direction in (Better.HIGHER, Better.LOWER)


@pytest.mark.parametrize("name", [record.name for record in list_metrics() if record.needs])
def test_maps_that_are_needed_are_required(name):
    with pytest.raises(UsageError, match=rf"metric '{name}' needs a (probability|brain) map"):
        score(Case(lesion(), lesion(), spacing_mm=(1, 1, 1)), [name])


def test_needs_are_known():
    assert {need for record in list_metrics() for need in record.needs} == {RequiredMap.PROBABILITY, RequiredMap.BRAIN}
    assert set(EMPTY) == set(NAMES)
    assert set(NAMES) >= SYMMETRIC
