"""What a run folder records about the work: the list of trials, locks, failures, and the status read from them."""
