"""The known folder layouts, one module each: every module of this package with a `LAYOUT` is registered."""

import importlib
import pkgutil

from lesionloss.core.catalogue import Catalogue
from lesionloss.data.layouts.records import Layout, LayoutGroup

layouts: Catalogue[Layout] = Catalogue("dataset layout")


def _layouts_of_this_package() -> list[Layout]:
    """All layouts, in the order of their groups, then by name."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    found: list[Layout] = [module.LAYOUT for module in modules if hasattr(module, "LAYOUT")]
    groups = list(LayoutGroup)
    return sorted(found, key=lambda layout: (groups.index(layout.group), layout.name))


for _layout in _layouts_of_this_package():
    layouts.add(_layout.name, _layout)

__all__ = ["layouts"]
