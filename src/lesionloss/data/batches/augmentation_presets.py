"""The augmentation of the papers, as steps with their settings."""

from collections.abc import Callable, Mapping

from lesionloss.data.batches.intensity import Blur, Brightness, IntensityTransform
from lesionloss.data.batches.transforms import Elastic, Flip, PointTransform, Rotate, Rotate90, Scale, VoxelTransform

Step = PointTransform | VoxelTransform | IntensityTransform
Steps = tuple[Step, ...]


def hytver() -> Steps:
    """Build the steps of HyTver 2025, as its released code (from CoactSeg) does them.

    Quarter turns, a flip and a rotation in the first two axes. There the rotation, by up to 20 degrees, acts on voxels
    with nearest-neighbour interpolation; here it acts in millimetres with linear interpolation. There exactly one of
    the axes is flipped; here each with probability 1/2.
    """
    return (Rotate(degrees=20, axes=(0, 1), probability=1.0), Rotate90(axes=(0, 1)), Flip(axes=(0, 1)))


def cabezas() -> Steps:
    """Build the step of Cabezas & Diez 2024: flips along the first axis and nothing else.

    The authors visit every patch once as it is and once flipped: that is `SlidingGrid(flipped=0)` without augmentation.
    This step is for samplers that do not flip.
    """
    return (Flip(axes=(0,)),)


def dscpp() -> Steps:
    """Build the steps of Yeung 2023 (DSC++), each with the printed probability of 0.15.

    Scaling, rotation, elastic deformation, mirroring and brightness, with the printed ranges. The framework used there,
    MIScnn, scales coordinates by 0.85 to 1.25, so objects become 1 / 1.25 = 0.8 to 1 / 0.85 = 1.18 times as large. (It
    mirrors each axis with probability 0.5.) Its elastic strength, alpha up to 900 with sigma 9 to 13, displaces by up
    to 13 pixels (standard deviation) in two dimensions: hence 13 and 11 here.
    """
    return (
        Scale(low=0.8, high=1.18, probability=0.15),
        Rotate(degrees=15, probability=0.15),
        Elastic(displacement=13.0, sigma=11.0, probability=0.15),
        Flip(probability=0.15),
        Brightness(low=0.5, high=2.0, probability=0.15),
    )


def topk() -> Steps:
    """Build the steps of Hosseini 2024 (TopK Dice) for Synapse, in the plane of the slices.

    Flips, rotation, zoom, elastic deformation and Gaussian blur are printed (ACDC: without blur; MSSEG: rotation and
    zoom only); their ranges are not: those of rotation, zoom and blur are nnU-Net's.
    """
    return (
        Flip(axes=(0, 1)),
        Rotate(degrees=30, axes=(0, 1), probability=0.2),
        Scale(low=0.7, high=1.4, probability=0.2),
        Elastic(displacement=4.0, sigma=16.0, axes=(0, 1), probability=0.2),
        Blur(low=0.5, high=1.0, probability=0.2),
    )


PRESETS: Mapping[str, Callable[[], Steps]] = {"hytver": hytver, "cabezas": cabezas, "dscpp": dscpp, "topk": topk}
