"""From prepared cases to training batches: patches, samplers, augmentation, the stream of batches."""
