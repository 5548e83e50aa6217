"""nnU-Net: trainers of every loss and seed whose training runs form pairs, and benchmarks made of them."""
