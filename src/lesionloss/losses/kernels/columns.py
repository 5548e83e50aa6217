"""What a walk over the voxels of one logit finds: sums over background voxels, sums over lesion voxels, and checks."""

ALARMS, SQUARED_ALARMS, BACKGROUND_CE = 0, 1, 2  # Σ p, Σ p², Σ cross-entropy of background voxels
MISSES, SQUARED_MISSES, LESION_CE = 3, 4, 5  # Σ (1 - p), Σ (1 - p)², Σ cross-entropy of lesion voxels
LESIONS = 6  # number of lesion voxels
TOTAL, LARGEST = 7, 8  # Σ logits, in which NaN and infinity survive; the largest label
COLUMNS = 9
