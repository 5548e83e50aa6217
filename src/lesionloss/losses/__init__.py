"""The losses: defined once, on `Voxels`, computed by a kernel, proven by laws."""
