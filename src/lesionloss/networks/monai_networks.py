"""Networks of MONAI by text, `monai:DynUNet(spatial_dims=3, ...)`: plain values only, weights from our generator."""

import inspect

from torch import nn

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.core.extras import missing_extra
from lesionloss.networks.foreign_networks import DEFAULT_INPUTS, DEFAULT_OUTPUTS, ForeignDesign

LIBRARY = "monai"
CHANNELS = ("in_channels", "out_channels")


def monai_design(name: str) -> ForeignDesign:
    """Return the class of monai.networks.nets of that name.

    Raises:
        UsageError: There is none, or it does not segment.
    """
    try:
        import monai.networks.nets as nets
    except ModuleNotFoundError as error:
        raise missing_extra(error, f"network {LIBRARY}:{name}") or error from error

    known = {
        key: kind
        for key, kind in vars(nets).items()
        if inspect.isclass(kind) and issubclass(kind, nn.Module) and kind.__module__.startswith("monai.networks.nets.")
    }
    if name not in known:
        fitting = sorted({kind.__name__ for kind in known.values() if _segments(kind)})
        raise UsageError(f"MONAI has no network {name!r}; {nearest(name, fitting)}")
    kind = known[name]
    if not _segments(kind):
        raise UsageError(f"{LIBRARY}:{name} has no in_channels and out_channels, so it is no network for segmentation")
    title = next((line for line in (kind.__doc__ or "").strip().splitlines() if line.strip()), kind.__name__)
    text = f"{LIBRARY}:{kind.__name__}"
    return ForeignDesign(text, kind, title.strip(), "MONAI", (DEFAULT_INPUTS, DEFAULT_OUTPUTS))


def _segments(kind: type[nn.Module]) -> bool:
    return set(CHANNELS) <= set(inspect.signature(kind).parameters)
