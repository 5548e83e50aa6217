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
_NO_BORDER = "an image without lesions has no border to be far from; it is added to another loss"
_ERODED = "errors that one erosion removes, as most of small images, cost nothing; it is added to another loss"
_TERM = "it is a term of calibration beside a loss: it does not look for lesions"


def _laws(loss: str, reason: str, *laws: str) -> tuple[Exemption, ...]:
    return tuple(Exemption(law, loss, reason) for law in laws)


EXEMPTIONS = (
    Exemption("lesion_gradient", "topk_cross_entropy", _HARDEST_ONLY),
    Exemption("lesion_gradient", "topk_dice", _HARDEST_ONLY),
    Exemption(
        "empty_reference",
        "weighted_gradient",
        "without lesion=, the weight of the background is the share of lesion voxels: 0 in an empty image",
        unless=("lesion",),
    ),
    Exemption("lesion_gradient", "lovasz_hinge", "voxels that are right by the margin cost nothing"),
    Exemption("perfect_prediction", "lovasz_hinge", "other predictions that are right by the margin cost nothing, too"),
    Exemption("empty_reference", "boundary", _NO_BORDER),
    Exemption("empty_reference", "surface", _NO_BORDER),
    Exemption("gradient_sign", "cl_dice", "a voxel beside a centre line moves that line"),
    *_laws("hausdorff_er", _ERODED, "soft_labels", "weights", "false_positives", "false_negatives", "lesion_gradient"),
    Exemption("perfect_prediction", "hausdorff_er", _ERODED),
    Exemption("spatial_shape", "hausdorff_er", "a single slice in 3-D has neighbours without errors above and below"),
    *_laws("calibration_error", _TERM, "false_positives", "gradient_sign"),
    *_laws("logit_margin", _TERM, "soft_labels", "weights", "false_positives", "false_negatives", "lesion_gradient"),
    *_laws("logit_margin", _TERM, "perfect_prediction", "empty_reference"),
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
