"""The card of each loss in the run: title, formula, hyperparameters, source, code and gradient analysis."""

import inspect
from dataclasses import dataclass
from functools import lru_cache

from lesionloss.core.errors import UsageError
from lesionloss.losses.explain import GradientAnalysis, gradient_analysis
from lesionloss.losses.spec import TermWeight
from lesionloss.runs.results import Results

LESION_SHARE = 0.01  # of the voxels, in the image of the gradient analysis


@dataclass(frozen=True)
class LossTerm:
    """One term of a loss; `weight` is empty if it is 1; `hyperparameters`: name, value in this run, description."""

    name: str
    weight: str
    title: str
    formula: str
    hyperparameters: tuple[tuple[str, str, str], ...]
    source: str
    code: str


@dataclass(frozen=True)
class LossCard:
    """A loss of the run. `unknown` says why there are no terms, for example because a user's file was not given."""

    loss: str
    terms: tuple[LossTerm, ...]
    gradients: GradientAnalysis | None
    unknown: str


def loss_cards(results: Results) -> tuple[LossCard, ...]:
    """One card per loss, in the order of the run."""
    if results.collected:
        return tuple(_collected(results, loss) for loss in results.losses)
    return tuple(_untrained(loss) if loss in results.untrained else _card(loss) for loss in results.losses)


def _collected(results: Results, loss: str) -> LossCard:
    """The card of one of our losses where the trainer's record says that it was that; else nothing is said of it."""
    if all(trial.record.get("weights_hash") for trial in results.trials if trial.loss == loss):
        return _card(loss)
    return LossCard(loss, (), None, "Trained elsewhere: which loss this is, and how it is written, is unknown.")


def _untrained(loss: str) -> LossCard:
    words = (
        "No network and no training: lesion is where the smoothed difference of the visits exceeds a threshold and the "
        "follow-up is bright."
    )
    return LossCard(loss, (), None, words)


def _card(loss: str) -> LossCard:
    from lesionloss.losses import loss_docs, registry
    from lesionloss.losses.spec import parse

    try:
        terms = parse(loss).terms
    except UsageError as error:
        return LossCard(
            loss, (), None, f"Not known here ({error}). Give its file: lesionloss --with FILE.py report DIR"
        )
    shown = []
    for term in terms:
        record = registry.get(term.name)
        docs, given = loss_docs.sections(record), dict(term.given)
        values = tuple((key, repr(given.get(key, value)), docs.get(key, "")) for key, value in record.defaults.items())
        code = _code(record.function) if record.text is None else _alias(record.name, record.text)
        weight, formula = weight_in_words(term.weight), docs.get("Formula", "")
        shown.append(LossTerm(record.name, weight, record.title, formula, values, record.source, code))
    return LossCard(loss, tuple(shown), _gradients(loss), "")


def weight_in_words(weight: TermWeight) -> str:
    """The weight of a term as the card shows it; empty if it is 1."""
    if isinstance(weight, tuple):
        return f"(from {weight[0]:g} at the first to {weight[1]:g} at the last step)"
    return "" if weight == 1 else str(weight)


@lru_cache(maxsize=64)
def _gradients(loss: str) -> GradientAnalysis:
    return gradient_analysis(loss, LESION_SHARE)


def _alias(name: str, text: str) -> str:
    """A loss that is a sum of others: the sum, then the code of each term."""
    from lesionloss.losses import registry
    from lesionloss.losses.spec import parse

    parts = [registry.get(term.name).function for term in parse(text).terms]
    return "\n\n".join([f"{name} = {text}", *map(_code, parts)])


def _code(function: object) -> str:
    """The source code of a loss without its docstring, which the card already shows."""
    try:
        text = inspect.getsource(function)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return "its source file is not available"
    doc = getattr(function, "__doc__", None)
    quotes = [text.find('"""'), text.find('"""', text.find('"""') + 3)] if doc else [-1, -1]
    if min(quotes) < 0:
        return text.rstrip()
    before, after = text[: quotes[0]].rstrip(), text[quotes[1] + 3 :].strip("\n")
    return f"{before}\n{after}".rstrip()
