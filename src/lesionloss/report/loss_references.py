"""The papers of the losses as BibTeX, found by the words that the source of a loss cites them with."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from lesionloss.core.number_text import listed
from lesionloss.report.loss_cards import LossCard

_ET_AL_FROM = 3  # authors


@dataclass(frozen=True)
class Reference:
    """An entry of losses.bib: what sources cite it by, and its text."""

    cites: tuple[str, ...]
    bibtex: str

    @property
    def short(self) -> str:
        """`Milletari et al. 2016`, `Cabezas and Diez 2024`."""
        authors = [name.partition(",")[0] for name in self._field("author").split(" and ")]
        who = f"{authors[0]} et al." if len(authors) >= _ET_AL_FROM else listed(authors)
        return f"{who} {self._field('year')}"

    def _field(self, name: str) -> str:
        found = re.search(rf"^  {name} = {{(.*)}},?$", self.bibtex, re.MULTILINE)
        return found[1] if found else ""


@cache
def all_references() -> tuple[Reference, ...]:
    """Every entry of losses.bib."""
    text = (files("lesionloss.report") / "losses.bib").read_text("utf-8")
    found = re.findall(r"^cites: ([^\n]+)\n(@.+?^}$)", text, re.MULTILINE | re.DOTALL)
    return tuple(Reference(tuple(cites.split(", ")), bibtex) for cites, bibtex in found)


def references_of(source: str) -> tuple[Reference, ...]:
    """The entries that the source of a loss cites, in the order in which it does."""
    places = {}
    for reference in all_references():
        at = [source.find(words) for words in reference.cites if words in source]
        if at:
            places[reference] = min(at)
    return tuple(sorted(places, key=places.__getitem__))


def bibtex_of(cards: tuple[LossCard, ...]) -> str:
    """BibTeX of all papers that the losses cite, each once; empty without any."""
    cited = (reference for card in cards for term in card.terms for reference in references_of(term.source))
    return "\n\n".join(dict.fromkeys(reference.bibtex for reference in cited))


def loss_in_text(card: LossCard) -> str:
    """A loss with the first paper of each of its terms: `dice (Milletari et al. 2016)`."""
    papers = dict.fromkeys(
        found[0].short if (found := references_of(term.source)) else term.source for term in card.terms
    )
    return f"{card.loss} ({'; '.join(papers)})"
