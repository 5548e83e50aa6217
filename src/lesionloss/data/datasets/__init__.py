"""One module per folder layout; what is registered here is recognised, in this order."""

from lesionloss.data.datasets import lit, msseg2
from lesionloss.data.layout import layouts

for _layout in (lit.LAYOUT, msseg2.LAYOUT):
    layouts.add(_layout.name, _layout)

__all__ = ["layouts"]
