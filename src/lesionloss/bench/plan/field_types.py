"""The types of a plan's values: the module that defines a name or text checks it and gives its canonical form."""

from typing import Annotated

from pydantic import AfterValidator

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.core.ranges import Positive, Weight

Sides = tuple[Positive, Positive, Positive] | tuple[Positive, Positive]
Weights = tuple[Weight, ...]


def _checked_loss(text: str) -> str:
    from lesionloss.losses.criterion import build

    return str(build(text))


def _checked_network(text: str) -> str:
    from lesionloss.networks import check_network

    return check_network(text)


def _checked_initial(name: str) -> str:
    from lesionloss.networks.initial_weights import check_initial

    return check_initial(name)


def _checked_metric(name: str) -> str:
    from lesionloss.metrics import choose

    choose(name)
    return name


def _checked_precision(name: str) -> str:
    from lesionloss.training.precision import PRECISIONS

    if name not in PRECISIONS:
        raise UsageError(f"must be one of {', '.join(PRECISIONS)}, got {name!r}")
    return name


def _checked_optimiser(text: str) -> str:
    from lesionloss.training.optimisers import check_optimiser

    return check_optimiser(text)


def _checked_schedule(text: str) -> str:
    from lesionloss.training.schedules import check_schedule

    return check_schedule(text)


def _checked_sampler(text: str) -> str:
    from lesionloss.training.samplers import check_sampler

    return check_sampler(text)


def _checked_pretraining(text: str) -> str:
    from lesionloss.training.pretraining import check_pretraining

    return check_pretraining(text)


def _checked_comparator(text: str) -> str:
    from lesionloss.inference.difference_threshold import read_difference_threshold

    return str(read_difference_threshold(text)) if text else ""


def _checked_test(name: str) -> str:
    from lesionloss.runs.results import DECLARED_TESTS

    if name not in DECLARED_TESTS:
        raise ValueError(f"no test is named {name!r}; {nearest(name, list(DECLARED_TESTS))}")
    return name


def _checked_profile(name: str) -> str:
    from lesionloss.synth.profiles import profile_settings

    profile_settings(name)
    return name


def _checked_augmentation(value: bool | tuple[str, ...]) -> bool | tuple[str, ...]:
    from lesionloss.data.batches.augmentation import format_augmentation, parse_augmentation

    return value if isinstance(value, bool) else format_augmentation(parse_augmentation(value))


LossText = Annotated[str, AfterValidator(_checked_loss)]
NetworkText = Annotated[str, AfterValidator(_checked_network)]
InitialName = Annotated[str, AfterValidator(_checked_initial)]
MetricName = Annotated[str, AfterValidator(_checked_metric)]
PrecisionName = Annotated[str, AfterValidator(_checked_precision)]
OptimiserText = Annotated[str, AfterValidator(_checked_optimiser)]
ScheduleText = Annotated[str, AfterValidator(_checked_schedule)]
SamplerText = Annotated[str, AfterValidator(_checked_sampler)]
PretrainingText = Annotated[str, AfterValidator(_checked_pretraining)]
ProfileName = Annotated[str, AfterValidator(_checked_profile)]
ComparatorText = Annotated[str, AfterValidator(_checked_comparator)]
TestName = Annotated[str, AfterValidator(_checked_test)]
Augmentation = Annotated[bool | tuple[str, ...], AfterValidator(_checked_augmentation)]
