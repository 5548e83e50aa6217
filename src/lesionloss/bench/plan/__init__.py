"""A benchmark plan: what is compared, declared before the data are seen."""

from lesionloss.bench.plan.plan_model import Plan
from lesionloss.bench.plan.toml_files import list_presets

__all__ = ["Plan", "list_presets"]
