"""The laws every loss must keep. `check` tries them on any registered loss, a user's own included."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from lesionloss.losses.kernels import Kernel
from lesionloss.losses.laws import corners, gradients, identity, invariance
from lesionloss.losses.laws.exempt import exemption
from lesionloss.losses.laws.law_batches import Broken, Law, NotApplicable, Subject

LAWS: tuple[Law, ...] = (
    invariance.heads,
    invariance.labels,
    invariance.soft,
    invariance.masked,
    invariance.permuted,
    invariance.space,
    invariance.alone,
    invariance.multilabel,
    gradients.false_alarms,
    gradients.misses,
    gradients.prices,
    gradients.components,
    gradients.alive,
    corners.perfect,
    corners.empty,
    corners.extreme,
    corners.half,
    corners.gradient,
    identity.limits,
    identity.text,
    identity.compiled,
    identity.documented,
)


class Outcome(Enum):
    """What became of a law."""

    HOLDS = "holds"
    BREAKS = "BREAKS"
    EXEMPT = "exempt"
    SILENT = "says nothing"


@dataclass(frozen=True)
class Verdict:
    """One law on one loss; `detail` is the counterexample, or the reason for an exemption."""

    law: Law
    outcome: Outcome
    detail: str = ""


def judge(law: Law, subject: Subject) -> Verdict:
    """Try one law, whatever exemptions there are."""
    try:
        law.check(subject)
    except Broken as broken:
        return Verdict(law, Outcome.BREAKS, str(broken))
    except NotApplicable as silent:
        return Verdict(law, Outcome.SILENT, str(silent))
    except Exception as error:  # a loss that fails breaks the law it fails under; the others are still tried
        return Verdict(law, Outcome.BREAKS, " ".join(f"{type(error).__name__}: {error}".split())[:300])
    return Verdict(law, Outcome.HOLDS)


def check(text: str, kernel: Kernel | None = None, laws: tuple[Law, ...] = LAWS) -> Iterator[Verdict]:
    """Try the laws on a loss one after the other. Raises UsageError if the text is no loss."""
    subject = Subject(text, kernel)
    terms = subject.spec.terms
    for law in laws:
        reason = next((reason for term in terms if (reason := exemption(law.name, term))), None)
        yield judge(law, subject) if reason is None else Verdict(law, Outcome.EXEMPT, reason)
