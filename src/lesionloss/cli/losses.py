"""`lesionloss losses`."""
