"""Cases of another cohort among the training cases, as a text of a recipe: `mix(name='synth', dataset=..., share=0.5)`.

The names of such cases begin with that of their mixture, so that they are told from a trial's own cases everywhere:
only training sees them, never validation or test.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from lesionloss.core.call_text import format_call, parse_call
from lesionloss.data.prepared import PreparedCase

NAME = "mix"


@dataclass(frozen=True)
class Mixture:
    """Which cases are mixed in, and how.

    Attributes:
        name: Name of the mixture.
        dataset: Layout and digest of the content of its cases.
        share: Share of the training patches; 0: each case counts as one more training case.
        visible: Lesions whose mean difference is at most this (z-scores) do not count; 0: all count.
    """

    name: str
    dataset: str
    share: float = 0.0
    visible: float = 0.0

    @property
    def prefix(self) -> str:
        """How the names of its cases and patients begin."""
        return f"{self.name}--"

    def text(self) -> str:
        """Return the text that `read_mixture` reads back."""
        return format_call(NAME, {key: value for key, value in asdict(self).items() if value})


def read_mixture(text: str) -> Mixture:
    """Return the mixture of a text.

    Raises:
        UsageError: The text is no call.
    """
    return Mixture(**parse_call(text, "mixture")[1])


def own_share(texts: Sequence[str]) -> float:
    """Return the share of the training patches that no mixture has for itself."""
    return 1.0 - sum(read_mixture(text).share for text in texts)


def split_mixed(
    cases: Sequence[PreparedCase], texts: Sequence[str]
) -> tuple[list[PreparedCase], list[PreparedCase], list[PreparedCase]]:
    """Split training cases by where they come from.

    Args:
        cases: All training cases.
        texts: The mixtures.

    Returns:
        A trial's own cases, those mixed in as further cases, and those of mixtures with a share of the patches.
    """
    mixtures = [read_mixture(text) for text in texts]
    joined, shared = (tuple(m.prefix for m in mixtures if bool(m.share) is wanted) for wanted in (False, True))
    return (
        [case for case in cases if not case.name.startswith(joined + shared)],
        [case for case in cases if case.name.startswith(joined)],
        [case for case in cases if case.name.startswith(shared)],
    )
