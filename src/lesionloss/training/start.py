"""The network before the first step: random weights of the pair's own generator, or those of a file."""

import hashlib
from pathlib import Path

from torch import nn

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.networks import build_network
from lesionloss.networks.checkpoint_names import same_name
from lesionloss.networks.pretrained_weights import freeze, load_weights, name_map
from lesionloss.training.trial import Trial


def start_network(trial: Trial, start: Path | None = None) -> nn.Module:
    """Return the network before the first step.

    Args:
        trial: Names the network; its pair names the generator of the initial weights.
        start: The pretrained weights, for a recipe with `pretrain`.

    Raises:
        UsageError: The recipe has `pretrain` and there is no `start`, or the other way round; or a file does not fit.
    """
    recipe = trial.recipe
    network = build_network(trial.network, torch_generator(trial.pair, "weights"), initial=recipe.initial)
    if recipe.start_from:
        mapping = name_map(recipe.start_layout) if recipe.start_layout else same_name
        load_weights(network, Path(recipe.start_from), mapping)
    if (start is not None) != bool(recipe.pretrain):
        raise UsageError(f"the recipe says pretrain = {recipe.pretrain!r}, but the pretrained weights are {start}")
    if start is not None and (missing := load_weights(network, start).missing):
        raise UsageError(f"{start} lacks {missing[0].ours} of {trial.network}: weights of another network")
    if recipe.freeze:
        freeze(network, recipe.freeze)
    return network


def weights_hash(network: nn.Module) -> str:
    """Return the digest of all parameters and buffers, in order."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
