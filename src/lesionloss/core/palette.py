"""The colours of all figures: those of Okabe and Ito, which colour-blind readers can distinguish."""

# Colours of axes and text; the page of a report replaces them by its own, light or dark.
INK = "#1c2127"
MUTED = "#59616b"
LINE = "#d3d8de"

TRUE_POSITIVE = "#009e73"
FALSE_POSITIVE = "#d55e00"
FALSE_NEGATIVE = "#56b4e9"
REFERENCE = "#f0e442"
