"""torchvision as it is installed, where it was built for another torch: without its compiled operations.

nnU-Net imports all of its own trainers when it looks for ours, and one of them needs timm, which imports torchvision.
Where its compiled part does not fit the torch of the tests, the import ends at the first operation of that part. None
of them is called here.
"""

import sys
from pathlib import Path

import torch

_here = Path(__file__).resolve().parents[1]
_places = [Path(place).resolve() for place in sys.path]
_installed = next(place / "torchvision" for place in _places if place != _here and (place / "torchvision").is_dir())
for _name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{_name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
__path__ = [str(_installed)]
exec(compile((_installed / "__init__.py").read_text(), str(_installed / "__init__.py"), "exec"))
