# ruff: noqa: I001
# Written by `python -m lesionloss.losses.write_stub`, and kept up to date by a test.
from collections.abc import Sequence
from typing import Literal

from lesionloss.core.version import __version__ as __version__
from lesionloss.losses.criterion import build as build
from lesionloss.losses.registry import list_losses as list_losses
from lesionloss.losses.registry import loss as loss
from lesionloss.losses.from_module import from_module as from_module
from lesionloss.losses.from_module import TargetForm as TargetForm
from lesionloss.losses.reference_maps import reference_map as reference_map
from lesionloss.losses.criterion import Loss as Loss
from lesionloss.losses.supervision import DeepSupervision as DeepSupervision
from lesionloss.losses.voxels import Voxels as Voxels
from lesionloss.losses.voxels import Counts as Counts
from lesionloss.metrics import score as score
from lesionloss.metrics import list_metrics as list_metrics
from lesionloss.metrics import Case as Case
from lesionloss.networks import build_network as build_network
from lesionloss.networks import list_networks as list_networks
from lesionloss.networks import network as network
from lesionloss.bench.plan import Plan as Plan
from lesionloss.bench.run import run as run
from lesionloss.runs.load_run import load as load
from lesionloss.collecting import collect as collect
from lesionloss.collecting import Prediction as Prediction
from lesionloss.statistics import compare as compare
from lesionloss.report import write_report as write_report
from lesionloss.core.errors import LesionLossError as LesionLossError
from lesionloss.core.errors import UsageError as UsageError
from lesionloss.core.errors import DataError as DataError

PUBLIC_NAMES: dict[str, str]
__all__: list[str]

class CrossEntropyLoss(Loss):
    """Cross-entropy: all voxels have equal weight, so the background dominates."""

    def __init__(
        self,
        *,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class WeightedCrossEntropyLoss(Loss):
    """Weighted cross-entropy: lesion voxels have a larger weight than background voxels."""

    def __init__(
        self,
        *,
        lesion: float = 0.9,
        background: float = 0.1,
        normalise: bool = True,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class FocalLoss(Loss):
    """Focal: cross-entropy that down-weights well-classified voxels."""

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        lesion: float = 0.25,
        background: float = 0.75,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class LogCoshLoss(Loss):
    """Log-cosh: smooth squared error of the probability, per voxel."""

    def __init__(
        self,
        *,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class WeightedGradientLoss(Loss):
    """Weighted gradient: cross-entropy without its first Taylor terms; well-classified voxels have little gradient."""

    def __init__(
        self,
        *,
        gamma: int = 2,
        lesion: float | None = None,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class DiceLoss(Loss):
    """Dice: overlap of prediction and reference, whatever the size of the lesion."""

    def __init__(
        self,
        *,
        squared: bool = False,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class JaccardLoss(Loss):
    """Jaccard: intersection over union; errors have twice the weight that they have in Dice."""

    def __init__(
        self,
        *,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class TverskyLoss(Loss):
    """Tversky: overlap with separate weights for false positives and false negatives."""

    def __init__(
        self,
        *,
        fp: float = 0.3,
        fn: float = 0.7,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class FocalTverskyLoss(Loss):
    """Focal Tversky: the Tversky loss to a power."""

    def __init__(
        self,
        *,
        fp: float = 0.3,
        fn: float = 0.7,
        exponent: float = 0.75,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class GeneralisedDiceLoss(Loss):
    """Generalised Dice: all classes in one ratio, with larger weights for rare classes."""

    def __init__(
        self,
        *,
        power: float = 2.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class LogCoshDiceLoss(Loss):
    """Log-cosh Dice: the Dice loss, flattened near its minimum."""

    def __init__(
        self,
        *,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class DicePlusPlusLoss(Loss):
    """Dice++: Dice that down-weights uncertain errors and penalises overconfident ones."""

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class TverskyPlusPlusLoss(Loss):
    """Tversky++: Tversky that down-weights uncertain errors and penalises overconfident ones."""

    def __init__(
        self,
        *,
        fp: float = 0.3,
        fn: float = 0.7,
        gamma: float = 2.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class FocalTverskyPlusPlusLoss(Loss):
    """Focal Tversky++: focal Tversky with sharpened errors."""

    def __init__(
        self,
        *,
        fp: float = 0.3,
        fn: float = 0.7,
        exponent: float = 0.75,
        gamma: float = 2.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class TopKCrossEntropyLoss(Loss):
    """Top-k cross-entropy: the mean of the k percent largest cross-entropies of each image."""

    def __init__(
        self,
        *,
        k: float = 10.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class TopKDiceLoss(Loss):
    """Top-k Dice: squared Dice that ignores the easiest foreground voxels."""

    def __init__(
        self,
        *,
        k: float = 50.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class ComboLoss(Loss):
    """Combo: weighted cross-entropy and Dice."""

    def __init__(
        self,
        *,
        ce_share: float = 0.5,
        lesion: float = 0.5,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class ComboPlusPlusLoss(Loss):
    """Combo++: weighted cross-entropy and Dice++."""

    def __init__(
        self,
        *,
        ce_share: float = 0.5,
        lesion: float = 0.5,
        gamma: float = 2.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class HyTverLoss(Loss):
    """HyTver: weighted cross-entropy and Tversky."""

    def __init__(
        self,
        *,
        fn: float = 0.7,
        lesion: float = 0.3,
        ce_share: float = 0.5,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class SymmetricFocalLoss(Loss):
    """Symmetric focal: weighted cross-entropy that down-weights well-classified voxels of both classes."""

    def __init__(
        self,
        *,
        delta: float = 0.6,
        gamma: float = 0.5,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class AsymmetricFocalLoss(Loss):
    """Asymmetric focal: weighted cross-entropy that down-weights well-classified background voxels."""

    def __init__(
        self,
        *,
        delta: float = 0.6,
        gamma: float = 0.5,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class SymmetricFocalTverskyLoss(Loss):
    """Symmetric focal Tversky: the Tversky losses of all classes to the power 1 - gamma."""

    def __init__(
        self,
        *,
        delta: float = 0.6,
        gamma: float = 0.5,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class AsymmetricFocalTverskyLoss(Loss):
    """Asymmetric focal Tversky: the Tversky losses of all classes, those of lesions to the power 1 - gamma."""

    def __init__(
        self,
        *,
        delta: float = 0.6,
        gamma: float = 0.5,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class SymmetricUnifiedFocalLoss(Loss):
    """Symmetric unified focal: symmetric focal Tversky and symmetric focal."""

    def __init__(
        self,
        *,
        tversky_share: float = 0.5,
        delta: float = 0.6,
        gamma: float = 0.5,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class AsymmetricUnifiedFocalLoss(Loss):
    """Asymmetric unified focal: asymmetric focal Tversky and asymmetric focal."""

    def __init__(
        self,
        *,
        tversky_share: float = 0.5,
        delta: float = 0.6,
        gamma: float = 0.5,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class SymmetricUnifiedFocalPlusPlusLoss(Loss):
    """Symmetric unified focal++: symmetric unified focal with sharpened errors, as in Dice++."""

    def __init__(
        self,
        *,
        tversky_share: float = 0.5,
        delta: float = 0.6,
        gamma: float = 0.5,
        sharpen: float = 2.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class AsymmetricUnifiedFocalPlusPlusLoss(Loss):
    """Asymmetric unified focal++: asymmetric unified focal with sharpened errors, as in Dice++."""

    def __init__(
        self,
        *,
        tversky_share: float = 0.5,
        delta: float = 0.6,
        gamma: float = 0.5,
        sharpen: float = 2.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class PolyCrossEntropyLoss(Loss):
    """Poly cross-entropy: cross-entropy, and a term that is linear in the probability."""

    def __init__(
        self,
        *,
        epsilon: float = 1.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class PolyFocalLoss(Loss):
    """Poly focal: focal loss, and a term that is a power of the error."""

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        epsilon: float = 1.0,
        lesion: float = 0.25,
        background: float = 0.75,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class MatthewsLoss(Loss):
    """Matthews: correlation of prediction and reference, which counts correct background too."""

    def __init__(
        self,
        *,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class SoftDiceSemimetricLoss(Loss):
    """Soft Dice semimetric: Dice for soft labels, least where the probability is the label."""

    def __init__(
        self,
        *,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class LovaszSoftmaxLoss(Loss):
    """Lovász-softmax: Jaccard of the wrong voxels, extended to probabilities; large errors count first."""

    def __init__(
        self,
        *,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class LovaszHingeLoss(Loss):
    """Lovász hinge: Jaccard of the wrong voxels, extended to hinge errors of the logits."""

    def __init__(
        self,
        *,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class BoundaryLoss(Loss):
    """Boundary: the probability times the signed distance to the border of the reference."""

    def __init__(
        self,
        *,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class SurfaceLoss(Loss):
    """Surface: the share of the squared distances to the border that wrong voxels have; from 0 to 1."""

    def __init__(
        self,
        *,
        power: float = 1.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class HausdorffDTLoss(Loss):
    """Hausdorff by distance transform: squared errors weighed by their distances to both borders."""

    def __init__(
        self,
        *,
        alpha: float = 2.0,
        one_sided: bool = False,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class HausdorffERLoss(Loss):
    """Hausdorff by erosion: squared errors that survive many erosions cost more, for they lie in thick regions."""

    def __init__(
        self,
        *,
        alpha: float = 2.0,
        erosions: int = 10,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class ClDiceLoss(Loss):
    """Centre-line Dice: overlap of each mask with the centre lines of the other."""

    def __init__(
        self,
        *,
        iterations: int = 3,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class LogitMarginLoss(Loss):
    """Logit margin: a penalty on logits that are further apart than a margin, whatever the reference."""

    def __init__(
        self,
        *,
        margin: float = 10.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class CalibrationErrorLoss(Loss):
    """Calibration error: mean over bins of the distance between predicted and observed frequency."""

    def __init__(
        self,
        *,
        bins: int = 20,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class BlobLoss(Loss):
    """Blob: one criterion for the image, and for each lesion while the other lesions are masked."""

    def __init__(
        self,
        *,
        main_share: float = 0.5,
        ce_share: float = 0.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class ComponentDiceLoss(Loss):
    """Component Dice: the mean of the Dice losses of the lesions, each in the region that is nearest to it."""

    def __init__(
        self,
        *,
        ce_share: float = 0.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class InverseWeightedLoss(Loss):
    """Inverse weighted: voxels have weights by which each lesion counts as much as all background."""

    def __init__(
        self,
        *,
        ce_share: float = 1.0,
        gamma: float = 0.0,
        sharpen: float = 1.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class LesionTverskyLoss(Loss):
    """Lesion Tversky: Tversky index of lesions instead of voxels, for the lesion-wise F1 score."""

    def __init__(
        self,
        *,
        fp: float = 0.5,
        fn: float = 0.5,
        power: float = 2.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class DiceCELoss(Loss):
    """Dice + cross-entropy: the usual loss of segmentation networks."""

    def __init__(
        self,
        *,
        squared: bool = False,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class DiceFocalLoss(Loss):
    """Dice + focal: overlap, and cross-entropy of hard voxels."""

    def __init__(
        self,
        *,
        squared: bool = False,
        gamma: float = 2.0,
        lesion: float = 0.25,
        background: float = 0.75,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class DiceTopKLoss(Loss):
    """Dice + top-k cross-entropy: overlap, and cross-entropy of the hardest voxels."""

    def __init__(
        self,
        *,
        squared: bool = False,
        k: float = 10.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class CETopKDiceLoss(Loss):
    """Cross-entropy + top-k Dice: the loss that Hosseini proposes (k=30 for MS lesions)."""

    def __init__(
        self,
        *,
        k: float = 50.0,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...

class HyTverReleasedLoss(Loss):
    """HyTver as released: in effect a penalty on predicted volume and the Tversky loss with its weights exchanged."""

    def __init__(
        self,
        *,
        pooled: bool = False,
        empty: Literal["count", "skip"] = "count",
        average_background: bool = False,
        multilabel: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None: ...
