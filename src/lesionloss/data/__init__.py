"""From visits on disk to batches: files that are believed, subjects, prepared cases, patches and folds."""
