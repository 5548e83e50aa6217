"""The colours of all figures: those of Okabe and Ito, which colour-blind readers can distinguish."""

# Colours of axes and text; the page of a report replaces them by its own, light or dark.
INK = "#1c2127"
MUTED = "#59616b"
LINE = "#d3d8de"

TRUE_POSITIVE = "#009e73"
FALSE_POSITIVE = "#d55e00"
FALSE_NEGATIVE = "#56b4e9"
REFERENCE = "#f0e442"
WRONG_CLASS = "#cc79a7"

# Of classes, in their order; on a picture in grey. Later classes have the same colours in stripes.
CLASSES = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#ffffff")

# The colour map of probabilities: perceptually uniform, and its lightness rises evenly, so that it prints in grey. The
# outline of the reference is a colour that differs from all of its colours.
PROBABILITY = "magma"
OUTLINE = "#00e5ff"
