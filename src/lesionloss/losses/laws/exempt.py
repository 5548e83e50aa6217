"""Which loss may break which law, and why. Each line is true: the tests see to it that the law really breaks."""

from dataclasses import dataclass

from lesionloss.losses.spec import SpecTerm


@dataclass(frozen=True)
class Exemption:
    """`unless`: hyperparameters that, when given, take the exemption away."""

    law: str
    loss: str
    reason: str
    unless: tuple[str, ...] = ()


_HARDEST_ONLY = "it looks at the hardest voxels only; the others have no gradient by design"
_RELEASED = "released code, kept slip for slip: "

EXEMPTIONS = (
    Exemption("alive", "topk_cross_entropy", _HARDEST_ONLY),
    Exemption("alive", "topk_dice", _HARDEST_ONLY),
    Exemption(
        "empty",
        "weighted_gradient",
        "without lesion= the background weighs as much as lesions abound, so in an empty image false alarms are free",
        unless=("lesion",),
    ),
    Exemption("alone", "hytver_released", _RELEASED + "it always pools the batch"),
    Exemption("multilabel", "hytver_released", _RELEASED + "it pools the channels too"),
    Exemption("misses", "hytver_released", _RELEASED + "its volume penalty can outweigh a miss"),
    Exemption("components", "hytver_released", _RELEASED + "its first part pushes lesion voxels down"),
    Exemption("perfect", "hytver_released", _RELEASED + "it is not 0 at the perfect prediction"),
    Exemption("empty", "hytver_released", _RELEASED + "an empty image costs about -0.5"),
)


def exemption(law: str, term: SpecTerm) -> str | None:
    """The reason why a summand need not keep a law, or None."""
    given = {key for key, value in term.given if value is not None}
    for item in EXEMPTIONS:
        if (item.law, item.loss) == (law, term.name) and not given & set(item.unless):
            return item.reason
    return None
