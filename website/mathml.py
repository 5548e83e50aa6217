"""Formulas as the docstrings write them, such as "1 - (TP + s) / (TP + fp·FP + s)", in MathML.

Words that are no symbols stay text. The browser draws MathML itself: the site needs no script and no font for it.
"""

import re
from collections.abc import Collection, Iterator
from html import escape

GREEK = {"alpha": "α", "gamma": "γ", "delta": "δ", "epsilon": "ε"}
SYMBOLS = {"TP", "FP", "FN", "TN", "CE", "mCE", "ce", "log", "cosh", "mean", "max", "index", "dice", *GREEK}
RAISED = dict(zip("⁰¹²³", "0123", strict=True))
LOWERED = dict(zip("₀₁₂₃ᵢ", "0123i", strict=True))
HALF = {"½": ("1", "2")}
OPEN, CLOSE = "([⌈|", ")]⌉|"
OPERATORS = "=+-<>≥≤,∝:;"
ENDS = {*OPERATORS, "/", ")", "]", "⌉", "..", ">=", "<="}
SPACE = '<mspace width="0.17em"/>'
TOKEN = re.compile(
    r"\w+=(?:True|False)|\d-D|\d+e-\d+|\d+(?:\.\d+)?|[^\W\d_]{2,}(?:['-][^\W\d_]+)+"
    r"|[^\W\d_](?:[^\W\d_]|\u0303)*(?:_[^\W\d_]{2,})*|>=|<=|\.\.|\S"
)
KEYWORD = re.compile(r"\b\w+=(?:True|False)\b")


class FormulaError(ValueError):
    """A formula that does not follow the notation."""


def formula_html(text: str, names: Collection[str] = ()) -> str:
    """HTML of a formula with the words between its parts.

    Args:
        text: as in the section "Formula" of a loss.
        names: further words that are symbols, such as the hyperparameters of the loss.

    Returns:
        Text, with each part that is mathematics as a `math` element.

    Raises:
        FormulaError: for brackets that do not match, or an operator without a right side.
    """
    parts = list(_parts(text, {*SYMBOLS, *names}))
    alone = len(parts) == 1 and isinstance(parts[0], list)
    html = "".join(escape(part) if isinstance(part, str) else math_html(part, block=alone) for part in parts)
    return KEYWORD.sub(lambda found: f"<code>{found[0]}</code>", html)


def math_html(tokens: list[str], *, block: bool = False) -> str:
    """A `math` element of the tokens of a formula.

    Raises:
        FormulaError: as `formula_html`.
    """
    parser = _Parser(tokens)
    inside = parser.row(until="")
    return f"<math{' display=block' if block else ''}><mrow>{inside}</mrow></math>".replace("=block", '="block"')


def lines_html(text: str) -> str:
    """A block of formulas, one a line; two spaces or more part formulas on one line.

    Raises:
        FormulaError: as `formula_html`.
    """
    rows = [re.split(r" {2,}", line.strip()) for line in text.strip().splitlines()]
    cells = ["".join(math_html(TOKEN.findall(part)) for part in row) for row in rows]
    return '<div class="formulas" tabindex="0">' + "".join(f"<p>{cell}</p>" for cell in cells) + "</div>"


def _parts(text: str, names: Collection[str]) -> Iterator[str | list[str]]:
    """Runs of tokens that are mathematics, and the text between them with its spaces."""
    run: list[str] = []
    place = start = depth = 0
    for found in TOKEN.finditer(text):
        word = found[0]
        depth += (word in "([⌈") - (word in ")]⌉")
        stops = word in ",:;." and (depth == 0 or not run)
        sentence = not run and word == "(" and not _is_symbol(TOKEN.findall(text, found.end())[0], names)
        if not stops and not sentence and (_is_symbol(word, names) or (run and depth > 0)):
            if not run:
                start = found.start()
                yield text[place:start]
            run.append(word)
            place = found.end()
        elif run:
            yield from _ended(run, text[start:place])
            run = []
            depth = 0
    if run:
        yield from _ended(run, text[start:place])
    elif place < len(text):
        yield text[place:]


def _ended(run: list[str], text: str) -> Iterator[str | list[str]]:
    """A run as mathematics; one without a symbol or number, such as a bracket of a sentence, as text."""
    if any(letter.isalnum() for word in run for letter in word):
        yield run
    else:
        yield text


def _is_symbol(word: str, names: Collection[str]) -> bool:
    letters = re.sub(r"[\u0303₀₁₂₃ᵢ⁰¹²³]", "", word)
    if len(letters) == 1 and letters.isalpha():
        return word not in "aA"
    return word in names or "_" in word or not any(letter.isalpha() for letter in word)


class _Parser:
    """Reads rows of terms; a term is a product, or a fraction of two."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.place = 0

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1]

    def row(self, until: str) -> str:
        """Terms and the operators between them, up to the closing bracket."""
        shown = []
        while (token := self.peek()) and (token != until or not until):
            if token in ("..", ">=", "<=") or token in OPERATORS:
                sign = {"-": "−", ">=": "≥", "<=": "≤", "..": "…"}.get(self.take(), token)
                shown.append(f"<mo>{escape(sign)}</mo>")
            elif token in CLOSE and token != "|":
                raise FormulaError(f"{token} closes nothing in {' '.join(self.tokens)}")
            else:
                shown.append(self.term(until))
        if until:
            if not self.peek():
                raise FormulaError(f"{until} is missing in {' '.join(self.tokens)}")
            self.take()
        return "".join(shown)

    def term(self, until: str) -> str:
        above, bare_above = self.product(until)
        if self.peek() != "/":
            return above
        self.take()
        below, bare_below = self.product(until)
        return f"<mfrac><mrow>{bare_above or above}</mrow><mrow>{bare_below or below}</mrow></mfrac>"

    def product(self, until: str) -> tuple[str, str]:
        """Factors, and the inside of the bracket if they are one bracket."""
        shown, bare = self.factor()
        while (token := self.peek()) and token != until and token not in ENDS:
            if token == "·":
                shown += f"<mo>{self.take()}</mo>{self.factor()[0]}"
            elif shown.endswith("</munder>"):  # a sum over an index is of the whole term
                return shown + self.term(until), ""
            else:
                shown += ("" if shown.endswith("∂</mi>") else SPACE) + self.factor()[0]
            bare = ""
        return shown, bare

    def factor(self) -> tuple[str, str]:
        if not self.peek():
            raise FormulaError(f"something is missing at the end of {' '.join(self.tokens)}")
        token, bare = self.take(), ""
        if token in OPEN:
            close = CLOSE[OPEN.index(token)]
            bare = self.row(until=close)
            grows = "" if "<mfrac>" in bare or "<munder>" in bare else ' stretchy="false"'
            shown = f"<mrow><mo{grows}>{token}</mo>{bare}<mo{grows}>{close}</mo></mrow>"
            bare = "" if token != "(" else bare
        elif token == "√":
            below, inside = self.factor()
            shown = f"<msqrt>{inside or below}</msqrt>"
        elif token == "-":
            shown = "<mo>−</mo>" + self.factor()[0]
        else:
            shown = _atom(token)
        scripted = self.scripts(shown)
        return scripted, bare if scripted == shown else ""

    def scripts(self, base: str) -> str:
        """The base with what stands below and above it."""
        low = high = ""
        while self.peek() in ("_", "^") or self.peek() in RAISED:
            sign = self.take()
            if sign in RAISED:
                high = f"<mn>{RAISED[sign]}</mn>"
                continue
            minus = "<mo>−</mo>" if self.peek() == "-" and self.take() else ""
            token = self.take()
            inside = self.row(until=")") if token == "(" else _atom(token)
            if sign == "_":
                low = f"<mrow>{minus}{inside}</mrow>"
            else:
                high = f"<mrow>{minus}{inside}</mrow>"
        if "∑" in base and low:
            return f"<munder>{base}{low}</munder>"
        if low and high:
            return f"<msubsup>{base}{low}{high}</msubsup>"
        if low or high:
            tag = "msub" if low else "msup"
            return f"<{tag}>{base}{low or high}</{tag}>"
        return base


def _atom(token: str) -> str:
    if token in HALF:
        above, below = HALF[token]
        return f"<mfrac><mn>{above}</mn><mn>{below}</mn></mfrac>"
    if token[0].isdigit():
        return f"<mn>{token}</mn>"
    if token == "Σ":
        return "<mo>∑</mo>"
    for scripts, tag in ((LOWERED, "msub"), (RAISED, "msup")):
        if len(token) > 1 and token[-1] in scripts:
            return f"<{tag}>{_atom(token[:-1])}<mn>{scripts[token[-1]]}</mn></{tag}>"
    word = GREEK.get(token, token)
    tag = "mtext" if word in ("log", "max") or "_" in word or len(word) > 3 else "mi"
    return f"<{tag}>{escape(word)}</{tag}>"
