"""READ a run folder: its trials, scores and values. Nothing here writes."""
