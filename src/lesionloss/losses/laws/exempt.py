"""Which loss may break which law, and why. Tests check that each exemption is needed: the law does break."""

from dataclasses import dataclass

from lesionloss.losses.spec import SpecTerm


@dataclass(frozen=True)
class Exemption:
    """One loss that may break one law. `unless`: hyperparameters that end the exemption when they are given."""

    law: str
    loss: str
    reason: str
    unless: tuple[str, ...] = ()


_HARDEST_ONLY = "it uses only the hardest voxels; the others have no gradient by design"
_RELEASED = "as in the released code: "

EXEMPTIONS = (
    Exemption("lesion_gradient", "topk_cross_entropy", _HARDEST_ONLY),
    Exemption("lesion_gradient", "topk_dice", _HARDEST_ONLY),
    Exemption(
        "empty_reference",
        "weighted_gradient",
        "without lesion=, the weight of the background is the share of lesion voxels: 0 in an empty image",
        unless=("lesion",),
    ),
    Exemption("independent_images", "hytver_released", _RELEASED + "it always pools the batch"),
    Exemption("multilabel", "hytver_released", _RELEASED + "it pools the channels too"),
    Exemption("false_negatives", "hytver_released", _RELEASED + "its volume penalty can outweigh false negatives"),
    Exemption("gradient_sign", "hytver_released", _RELEASED + "its first part lowers the probability of lesion voxels"),
    Exemption("perfect_prediction", "hytver_released", _RELEASED + "it is not 0 at the perfect prediction"),
    Exemption("empty_reference", "hytver_released", _RELEASED + "an empty image has a loss of about -0.5"),
)


def exemption(law: str, term: SpecTerm) -> str | None:
    """Why a summand need not keep a law, or None if it must."""
    given = {key for key, value in term.given if value is not None}
    for item in EXEMPTIONS:
        if (item.law, item.loss) == (law, term.name) and not given & set(item.unless):
            return item.reason
    return None
