"""A class for each registered loss, such as `TverskyLoss(fp=0.4)`, with the loss's own hyperparameters."""

import inspect
from functools import cache
from typing import Any

from lesionloss.core.parameters import Value
from lesionloss.losses import registry
from lesionloss.losses.criterion import Loss, build
from lesionloss.losses.foreign_arguments import foreign_hint
from lesionloss.losses.loss_options import differences, read_options
from lesionloss.losses.registry import LossRecord
from lesionloss.losses.spec import Spec, SpecTerm, check_hyperparameters

_OPTIONS = tuple(list(inspect.signature(build).parameters.values())[1:-1])


def named_class(class_name: str) -> type[Loss]:
    """The nn.Module of a registered loss, e.g. HyTverLoss.

    Raises:
        AttributeError: no loss has that class name.
    """
    for record in registry.list_losses():
        if record.class_name == class_name:
            return _class_of(record.name, record.function)
    raise AttributeError(f"no loss has a class named {class_name!r}")


@cache
def _class_of(name: str, function: registry.LossFunction) -> type[Loss]:
    record = registry.get(name)
    hyperparameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in list(inspect.signature(function).parameters.values())[1:]
    ]
    options = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in _OPTIONS]
    signature = inspect.Signature(hyperparameters + options)

    def __init__(self: Loss, *positional: Any, **keywords: Any) -> None:
        try:
            arguments = signature.bind(*positional, **keywords).arguments
        except TypeError as error:
            hint = foreign_hint([key for key in keywords if key not in signature.parameters], record.defaults)
            hint = hint or f"it takes {', '.join(signature.parameters)}"
            raise TypeError(f"{record.class_name}: {error}; {hint}") from None
        given = {key: arguments.pop(key) for key in list(arguments) if key in record.defaults}
        spec = Spec((_checked_term(record, given),))
        chosen = {option.name: option.default for option in _OPTIONS} | arguments
        Loss.__init__(self, spec, read_options(**chosen))

    def __repr__(self: Loss) -> str:
        given = [f"{key}={value!r}" for key, value in self.spec.terms[0].given]
        return f"{record.class_name}({', '.join(given + differences(self.options))})"

    members = {
        "__init__": __init__,
        "__repr__": __repr__,
        "__doc__": f"{record.doc}\n\nSource: {record.source}. Options as for `build`.",
        "__module__": "lesionloss",
        "__signature__": signature,
    }
    return type(record.class_name, (Loss,), members)


def _checked_term(record: LossRecord, given: dict[str, Value]) -> SpecTerm:
    check_hyperparameters(record.name, given)
    return SpecTerm(1.0, record.name, tuple(given.items()))
