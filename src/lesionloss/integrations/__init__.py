"""The losses, the pairing and the comparison inside other people's training programs."""
