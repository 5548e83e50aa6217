"""What a loss will ask for, known before it asks: so that one pass over the voxels serves all of its sums."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lesionloss.losses.kernels.lesions import Found
from lesionloss.losses.kernels.readable import READABLE
from lesionloss.losses.kernels.terms import CrossEntropy, Tail, Term

if TYPE_CHECKING:
    from lesionloss.losses.voxels import Voxels

Pair = tuple[Term, Term]  # on lesion voxels, on background voxels


@dataclass(frozen=True)
class Plan:
    """Sums wanted of a batch: counts for each sharpness, and sums of terms; and whether lesion logits are, one by one.

    A row of results has, per sharpness, TP, FP, FN and TN with K columns each, then two columns per pair of terms.
    """

    sharpens: tuple[float, ...] = ()
    pairs: tuple[Pair, ...] = ()
    listed: bool = False

    def __sub__(self, done: "Plan") -> "Plan":
        return Plan(
            tuple(sharpen for sharpen in self.sharpens if sharpen not in done.sharpens),
            tuple(pair for pair in self.pairs if pair not in done.pairs),
            self.listed and not done.listed,
        )

    def __or__(self, more: "Plan") -> "Plan":
        new = more - self
        return Plan(self.sharpens + new.sharpens, self.pairs + new.pairs, self.listed or new.listed)

    def __bool__(self) -> bool:
        return bool(self.sharpens or self.pairs or self.listed)

    @property
    def keys(self) -> list[float | Pair]:
        return [*self.sharpens, *self.pairs]

    @cached_property
    def mirrored(self) -> "Plan":
        """With lesion and background exchanged."""
        return Plan(self.sharpens, tuple((background, lesion) for lesion, background in self.pairs), self.listed)

    @cached_property
    def one_term(self) -> Term | None:
        """The background's term whose slope needs a logarithm, where there is just one."""
        curved = [term for term in self.on_background if not isinstance(term, CrossEntropy | Tail)]
        return curved[0] if len(curved) == 1 else None

    @cached_property
    def logarithms(self) -> bool:
        """Whether the sums over background voxels take a logarithm for each of them."""
        return any(term not in (CrossEntropy(), Tail(2)) for term in self.on_background)

    @cached_property
    def slopes_by_q(self) -> bool:
        """Whether no term's slope needs a logarithm."""
        return all(isinstance(term, CrossEntropy | Tail) for term in self.on_background)

    @cached_property
    def is_plain(self) -> bool:
        """Whether all that is wanted are counts, also squared, and cross-entropies."""
        terms = (term for pair in self.pairs for term in pair)
        return all(power == 2 for power in self.powers) and all(isinstance(term, CrossEntropy) for term in terms)

    @cached_property
    def powers(self) -> tuple[float, ...]:
        """The sharpnesses that need a power."""
        return tuple(sharpen for sharpen in self.sharpens if sharpen != 1)

    @cached_property
    def on_background(self) -> tuple[Term, ...]:
        return tuple(background for _, background in self.pairs)

    def sizes(self, classes: int) -> list[int]:
        """Columns of each part of the results: per count the background's and the lesions', per term one each."""
        return [1, classes - 1] * 4 * len(self.sharpens) + [1, 1] * len(self.pairs)


@dataclass
class Results:
    """What is computed already: the parts (see `Plan.sizes`) of each sharpness (8) and of each pair of terms (2)."""

    plan: Plan = field(default_factory=Plan)
    found: Found | None = None  # the lesion voxels
    lesions: Tensor | None = None  # (R,): their number, where a kernel found it on the way
    listed: Tensor | None = None  # (n, C): the logits of the lesion voxels
    parts: dict[float | Pair, tuple[Tensor, ...]] = field(default_factory=dict)

    def add(self, plan: Plan, parts: tuple[Tensor, ...]) -> None:
        """The parts of a plan, and then the logits of lesion voxels if it has them."""
        self.plan |= plan
        self.listed = parts[-1] if plan.listed else self.listed
        at = 0
        for key in plan.keys:
            size = 2 if isinstance(key, tuple) else 8
            self.parts[key] = parts[at : at + size]
            at += size


@dataclass
class Recorder:
    """A kernel that writes down what it is asked for."""

    name: str = "recorder"
    seen: Plan = field(default_factory=Plan)

    def looks(self, v: "Voxels") -> bool:
        return False

    def class_voxels(self, v: "Voxels") -> Tensor:
        return READABLE.class_voxels(v)

    def counts(self, v: "Voxels", sharpen: float, background: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        self.seen |= Plan(sharpens=(sharpen,))
        return READABLE.counts(v, sharpen, background)

    def term_sums(self, v: "Voxels", lesion: Term, background: Term) -> tuple[Tensor, Tensor]:
        self.seen |= Plan(pairs=((lesion, background),))
        return READABLE.term_sums(v, lesion, background)

    def lesions(self, v: "Voxels") -> tuple[Tensor, Tensor]:
        self.seen |= Plan(listed=True)
        return READABLE.lesions(v)


def plan_of(functions: list[Callable[["Voxels"], Tensor]], v: "Voxels") -> Plan:
    """What the losses ask of a batch like v, found by asking them about two voxels."""
    recorder = Recorder()
    tiny = replace(
        v,
        logits=torch.zeros((v.groups, v.logits.shape[1], 2)),
        labels=torch.tensor([[0, 1]], dtype=torch.uint8).expand(v.groups, 2),
        valid=None,
        kernel=recorder,
        plan=None,
        _kept={},
    )
    with torch.no_grad():
        for function in functions:
            try:
                function(tiny)
            except Exception:  # noqa: BLE001, S112, RUF100  # the real batch will say what is wrong
                continue
    return recorder.seen


@dataclass(frozen=True)
class Raw:
    """The sums over background voxels that everything else is made of, in this order; all of it linear.

    Σ p_c for c >= 1 (if there are counts); per power Σ p_c^power for c >= 1 and Σ q^power; Σ term per background term.
    """

    length: int
    matrix: Tensor  # (length, columns of the results), float64
    per_voxel: Tensor  # (columns,): what each background voxel adds


@lru_cache(maxsize=64)
def raw_of(plan: Plan, classes: int) -> Raw:
    """How the results of a plan follow from the raw sums. On background voxels class 0 has TP and FN, others FP, TN."""
    lesions = range(1, classes)
    entries: list[tuple[int, int, float]] = []
    linear = classes - 1 if plan.sharpens else 0
    row, column = linear, 0
    per_voxel: list[int] = []
    for sharpen in plan.sharpens:
        tp, fp, fn, tn = (column + i * classes for i in range(4))
        entries += [(c - 1, tn + c, -1.0) for c in lesions] + [(c - 1, tp, -1.0) for c in lesions]
        per_voxel += [tp] + [tn + c for c in lesions]
        if sharpen == 1:
            entries += [(c - 1, fp + c, 1.0) for c in lesions] + [(c - 1, fn, 1.0) for c in lesions]
        else:
            entries += [(row + c - 1, fp + c, 1.0) for c in lesions] + [(row + classes - 1, fn, 1.0)]
            row += classes
        column += 4 * classes
    for _ in plan.pairs:
        entries.append((row, column + 1, 1.0))
        row, column = row + 1, column + 2
    matrix = torch.zeros((row, column), dtype=torch.float64)
    for i, j, value in entries:
        matrix[i, j] = value
    adds = torch.zeros(column, dtype=torch.float64)
    adds[per_voxel] = 1.0
    return Raw(row, matrix, adds)
