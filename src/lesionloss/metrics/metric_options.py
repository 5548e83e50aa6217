"""What an option of a metric means and may be. An option of one name means the same in every metric that has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from lesionloss.core.parameters import Parameter, Value, check_keywords, parameter
from lesionloss.core.ranges import Choice, Positive, Range, Share

Option = Value
NotNegative = Annotated[float, Range(0)]


@dataclass(frozen=True)
class OptionMeaning:
    """`words`: what the option does; `annotation`: which values it takes."""

    words: str
    annotation: Any


MEANINGS = {
    "percent": OptionMeaning(
        "the distance below which so many per cent of the distances lie; 100 is the largest",
        Annotated[float, Range(0, 100)],
    ),
    "voxels": OptionMeaning("distances in voxels, as if each edge of a voxel were 1, instead of mm", bool),
    "tolerance_mm": OptionMeaning("borders that are no further apart than this agree", NotNegative),
    "connectivity": OptionMeaning(
        "neighbours of a voxel: 6 faces, 18 with edges, 26 with corners", Annotated[int, Choice((6, 18, 26))]
    ),
    "min_volume_mm3": OptionMeaning("a lesion is larger than this", NotNegative),
    "min_voxels": OptionMeaning("a lesion has at least so many voxels, whatever their volume", Positive),
    "covered": OptionMeaning("more than this share of a lesion must be covered", Share),
    "counted": OptionMeaning("counterparts are looked at until they make up this share of the overlap", Share),
    "outside": OptionMeaning("none of these may lie by more than this share outside all lesions", Share),
    "least": OptionMeaning("voxels of at least this probability make the candidates", Share),
    "iou": OptionMeaning("a candidate finds a lesion if their intersection over union is at least this", Share),
    "released_bound": OptionMeaning("look at no more counterparts than the loop of the released program does", bool),
    "eps": OptionMeaning("probabilities are kept this far from 0 in logarithms", Annotated[float, Range(1e-300, 0.5)]),
    "bins": OptionMeaning("equal bins of the lesion probability", Annotated[int, Range(1, 100_000)]),
    "both_empty": OptionMeaning("what a case counts in which both masks are rightly empty, instead of nothing", Share),
}


def option_parameters(options: Mapping[str, Option]) -> dict[str, Parameter]:
    """What each option may be, from its meaning or, for one without, from its default."""
    annotations = {name: MEANINGS[name].annotation if name in MEANINGS else None for name in options}
    return {name: parameter(name, annotations[name], default) for name, default in options.items()}


def checked_options(metric: str, known: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Option]:
    """The given options of a metric; 18.0 becomes 18 where only whole numbers are allowed.

    Raises:
        UsageError: for an option that the metric does not have, or a value that is not allowed.
    """
    parameters = option_parameters(known)
    whole = {name for name, record in parameters.items() if int in record.kinds and float not in record.kinds}
    read = {
        name: int(value) if name in whole and isinstance(value, float) and value.is_integer() else value
        for name, value in given.items()
    }
    check_keywords(read, parameters, f"metric {metric}", "option")
    return read
