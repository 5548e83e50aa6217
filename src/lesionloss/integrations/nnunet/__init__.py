"""nnU-Net: trainers of every loss and seed whose trainings form pairs, and benchmarks made of them."""
