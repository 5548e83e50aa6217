"""Names of trainers, such as `nnUNetTrainerLL_hytver_s1_e50`: the loss, the seed, and what is shorter than usual."""

import re
from dataclasses import dataclass

from lesionloss.core.errors import UsageError

PREFIX = "nnUNetTrainerLL_"
_NAME = re.compile(
    PREFIX + r"(?P<loss>\w+?)_s(?P<seed>\d+)"
    r"(?:_e(?P<epochs>[1-9]\d*))?(?:_i(?P<iterations>[1-9]\d*))?(?:_v(?P<validation_iterations>[1-9]\d*))?",
    re.ASCII,
)


@dataclass(frozen=True)
class TrainerName:
    """What distinguishes one trainer from another; `str` gives the name of its class and of its results folder.

    Attributes:
        loss: The key of the loss, see `stored_losses`.
        epochs: None: as many as nnU-Net's trainer has, likewise `iterations` and `validation_iterations` of an epoch.
    """

    loss: str
    seed: int
    epochs: int | None = None
    iterations: int | None = None
    validation_iterations: int | None = None

    def __str__(self) -> str:
        """The name of the class."""
        lengths = {"e": self.epochs, "i": self.iterations, "v": self.validation_iterations}
        shorter = "".join(f"_{letter}{length}" for letter, length in lengths.items() if length is not None)
        return f"{PREFIX}{self.loss}_s{self.seed}{shorter}"


def parse_trainer_name(name: str) -> TrainerName:
    """Return what the name of a trainer says.

    Raises:
        UsageError: The name is not built like `nnUNetTrainerLL_LOSS_sSEED`.
    """
    found = _NAME.fullmatch(name)
    if found is None or "__" in name:  # nnU-Net separates trainer, plans and configuration by it
        raise UsageError(
            f"trainer {name}: expected {PREFIX}LOSS_sSEED, such as {PREFIX}hytver_s1, and behind it, where a "
            "training is shorter, _eEPOCHS, _iITERATIONS and _vVALIDATION_ITERATIONS"
        )
    numbers = {key: None if text is None else int(text) for key, text in found.groupdict().items() if key != "loss"}
    seed = numbers.pop("seed") or 0
    return TrainerName(found["loss"], seed, **numbers)
