"""What an option of a metric means and may be. An option of one name means the same in every metric that has it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError

Option = bool | int | float | None


@dataclass(frozen=True)
class Limits:
    """`words`: what the option does; numbers lie from `low` to `high`; `whole`: only whole numbers; `among`: these."""

    words: str
    low: float = 0.0
    high: float = math.inf
    whole: bool = False
    among: tuple[int, ...] = ()

    def allows(self, value: float) -> bool:
        inside = math.isfinite(value) and self.low <= value <= self.high
        return inside and (not self.whole or value == int(value)) and (not self.among or value in self.among)

    def describe(self) -> str:
        if self.among:
            return ", ".join(map(str, self.among[:-1])) + f" or {self.among[-1]}"
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} >= {self.low:g}" if math.isinf(self.high) else f"{kind} from {self.low:g} to {self.high:g}"


LIMITS = {
    "percent": Limits("the distance below which so many per cent of the distances lie; 100 is the largest", high=100),
    "tolerance_mm": Limits("borders that are no further apart than this agree"),
    "connectivity": Limits("neighbours of a voxel: 6 faces, 18 with edges, 26 with corners", among=(6, 18, 26)),
    "min_volume_mm3": Limits("a lesion is larger than this"),
    "min_voxels": Limits("a lesion has at least so many voxels, whatever their volume", low=1, whole=True),
    "covered": Limits("more than this share of a lesion must be covered", high=1),
    "counted": Limits("counterparts are looked at until they make up this share of the overlap", high=1),
    "outside": Limits("none of these may lie by more than this share outside all lesions", high=1),
    "released_bound": Limits("look at no more counterparts than the loop of the released program does"),
    "eps": Limits("probabilities are kept this far from 0 in logarithms", low=1e-300, high=0.5),
    "bins": Limits("equal bins of the lesion probability", low=1, high=100_000, whole=True),
    "both_empty": Limits("what a case counts in which both masks are rightly empty, instead of nothing", high=1),
}


def checked_option(text: str, known: Mapping[str, Option], name: str, value: Option) -> Option:
    """The value, whole where it must be.

    Raises UsageError if the metric written as `text` has no such option, or for a value that it can't be.
    """
    if name not in known:
        raise UsageError(f"metric {text!r} has no option {name!r}; {nearest(name, list(known))}")
    if isinstance(known[name], bool) is not isinstance(value, bool):
        raise UsageError(f"metric {text!r}: option {name!r} is {known[name]!r} by default and can't be {value!r}")
    limits = LIMITS.get(name)
    if limits is None or value is None or isinstance(value, bool):
        return value
    if not limits.allows(value):
        raise UsageError(f"metric {text!r}: option {name!r} is {limits.describe()}, and can't be {value!r}")
    return int(value) if limits.whole or limits.among else value
