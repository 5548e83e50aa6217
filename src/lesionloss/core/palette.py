"""The colours of every figure. Those of Okabe and Ito, safe for the colour-blind."""

# What the axes and words of a chart are drawn in; inside the page these become its own colours, light or dark.
INK = "#1c2127"
MUTED = "#59616b"
LINE = "#d3d8de"

TRUE_POSITIVE = "#009e73"
FALSE_POSITIVE = "#d55e00"
FALSE_NEGATIVE = "#56b4e9"
REFERENCE = "#f0e442"
