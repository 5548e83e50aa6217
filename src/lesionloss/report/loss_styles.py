"""One colour and one mark per loss, the same in every figure. Colours of Okabe and Ito, safe for the colour-blind."""

from dataclasses import dataclass

from lesionloss.runs.results import Results

# Yellow and black of the set are left out: yellow is invisible on white, black on a dark page.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_MARKS = ("o", "s", "D", "^", "v", "P", "X")
# The same marks for the page, inside a square of 12.
MARK_SHAPES = {
    "o": "M6 1a5 5 0 1 0 0 10a5 5 0 1 0 0-10z",
    "s": "M1.5 1.5h9v9h-9z",
    "D": "M6 .4 11.6 6 6 11.6.4 6z",
    "^": "M6 .8 11.6 11H.4z",
    "v": "M6 11.2 11.6 1H.4z",
    "P": "M4 .8h4V4h3.2v4H8v3.2H4V8H.8V4H4z",
    "X": "M3.3.8 6 3.5 8.7.8l2.5 2.5L8.5 6l2.7 2.7-2.5 2.5L6 8.5l-2.7 2.7L.8 8.7 3.5 6 .8 3.3z",
}
# Darker than a middle grey, which the colour-blind confuse with the pink of the set.
_UNTRAINED = "#686e76"


@dataclass(frozen=True)
class LossStyle:
    """The colour of a loss as #rrggbb, and its mark in matplotlib's letters."""

    colour: str
    mark: str


def choose_styles(results: Results) -> dict[str, LossStyle]:
    """A style for every loss, in the plan's order; six colours and seven marks make 42 pairs."""
    networks = [loss for loss in results.losses if loss not in results.untrained]
    chosen = {loss: LossStyle(_COLOURS[n % len(_COLOURS)], _MARKS[n % len(_MARKS)]) for n, loss in enumerate(networks)}
    return chosen | dict.fromkeys(results.untrained, LossStyle(_UNTRAINED, "X"))
