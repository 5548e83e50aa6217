"""Property tests that every loss must pass, called laws. `check` runs them on any registered loss, yours included."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from lesionloss.losses.kernels import Kernel
from lesionloss.losses.laws import corners, gradients, identity, invariance
from lesionloss.losses.laws.exempt import exemption
from lesionloss.losses.laws.law_batches import Law, LawBroken, LossUnderTest, NotApplicable
from lesionloss.losses.registry import get

LAWS: tuple[Law, ...] = (
    invariance.heads,
    invariance.labels,
    invariance.soft_labels,
    invariance.masked_voxels,
    invariance.weights,
    invariance.maps,
    invariance.voxel_order,
    invariance.spatial_shape,
    invariance.independent_images,
    invariance.multilabel,
    invariance.class_weights,
    gradients.false_positives,
    gradients.false_negatives,
    gradients.error_weights,
    gradients.gradient_sign,
    gradients.lesion_gradient,
    corners.perfect_prediction,
    corners.empty_reference,
    corners.extreme_logits,
    corners.half_precision,
    corners.finite_differences,
    identity.limits,
    identity.text_round_trip,
    identity.compiled,
    identity.documented,
)


class LawOutcome(Enum):
    """The result of one law on one loss."""

    HOLDS = "holds"
    BREAKS = "BREAKS"
    EXEMPT = "exempt"
    NOT_APPLICABLE = "does not apply"
    UNASKED = "not asked"


@dataclass(frozen=True)
class Verdict:
    """One law on one loss; `detail` is the counterexample, or the reason why it is exempt or was not asked."""

    law: Law
    outcome: LawOutcome
    detail: str = ""


def judge(law: Law, tested: LossUnderTest) -> Verdict:
    """Test one law, without regard to exemptions."""
    try:
        law.check(tested)
    except LawBroken as broken:
        return Verdict(law, LawOutcome.BREAKS, str(broken))
    except NotApplicable as reason:
        return Verdict(law, LawOutcome.NOT_APPLICABLE, str(reason))
    except Exception as error:  # a loss that raises breaks this law; the others are still tested
        return Verdict(law, LawOutcome.BREAKS, " ".join(f"{type(error).__name__}: {error}".split())[:300])
    return Verdict(law, LawOutcome.HOLDS)


def check(text: str, kernel: Kernel | None = None, laws: tuple[Law, ...] = LAWS) -> Iterator[Verdict]:
    """Test the laws on a loss, one after the other.

    Args:
        text: a loss, or a sum of losses.
        kernel: how the loss is computed; None takes the kernel that is used in training.
        laws: the laws to test.

    Yields:
        One verdict per law.

    Raises:
        UsageError: if the text is no loss.
    """
    tested = LossUnderTest(text, kernel)
    terms = tested.spec.terms
    for law in laws:
        unasked = next((reason for term in terms if (reason := get(term.name).unasked.get(law.name))), None)
        exempt = next((reason for term in terms if (reason := exemption(law.name, term))), None)
        if unasked is not None:
            yield Verdict(law, LawOutcome.UNASKED, unasked)
        else:
            yield judge(law, tested) if exempt is None else Verdict(law, LawOutcome.EXEMPT, exempt)
