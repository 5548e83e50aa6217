"""Train one network: recipe, loop, checkpoints, and everything that a training run is made of."""
