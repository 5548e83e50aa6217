"""Two processes that train together with DistributedDataParallel (gloo): python two_ranks.py FOLDER.

Rank 0 has the first three of five images, rank 1 the others. Written to FOLDER: gradients of a small network under
every loss, and metrics over the cases of both.
"""

import json
import os
import sys
import traceback
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

import lesionloss as ll
from lesionloss.core.randomness import torch_generator
from lesionloss.integrations import monai, torchmetrics

SHARES = (slice(0, 3), slice(3, 5))


def batch() -> tuple[Tensor, Tensor]:
    """Five images (5, 1, 6, 7), and class numbers of two lesion classes (5, 6, 7); the classes differ in size."""
    stream = torch_generator("two ranks")
    labels = torch.randint(0, 3, (5, 6, 7), generator=stream) * (torch.rand((5, 6, 7), generator=stream) < 0.4)
    return labels[:, None] + 0.5 * torch.randn((5, 1, 6, 7), generator=stream), labels


def network(name: str) -> nn.Module:
    """A network with three outputs, or two for the loss that takes one lesion class; always with the same weights."""
    torch.manual_seed(0)
    return nn.Conv2d(1, 2 if name == "hytver_released" else 3, 3, padding=1)


def labels_for(name: str, labels: Tensor) -> Tensor:
    """Class numbers that the loss takes."""
    return labels.clamp_max(1) if name == "hytver_released" else labels


def gradient(name: str, model: nn.Module, images: Tensor, labels: Tensor, pooled: bool) -> list[list[float]]:
    """The gradient of each parameter, flat."""
    model.zero_grad()
    ll.build(name, pooled=pooled)(model(images), labels_for(name, labels)).backward()
    return [parameter.grad.flatten().tolist() for parameter in model.parameters()]


def main(rank: int, folder: Path) -> None:
    """Compute and write everything."""
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    images, labels = (x[SHARES[rank]] for x in batch())
    found: dict[str, object] = {}
    for record in ll.list_losses():
        model = nn.parallel.DistributedDataParallel(network(record.name))
        found[record.name] = [gradient(record.name, model, images, labels, pooled) for pooled in (False, True)]
    if rank == 0:  # without gradients, one process alone gets a value
        with torch.no_grad():
            found["alone"] = ll.build("dice", pooled=True)(network("dice")(images), labels).item()
    for name, metric in (("torchmetrics", of_torch := torchmetrics.DiceMetric(spacing_mm=(1, 1))),
                         ("monai", monai.DiceMetric(spacing_mm=(1, 1)))):  # fmt: skip
        for given, known in zip(images.split(2), labels.split(2), strict=True):
            metric((given > 0.5).float(), (known[:, None] > 0).float())
        found[name] = float(metric.compute() if metric is of_torch else metric.aggregate())
    empty = torchmetrics.DiceMetric(spacing_mm=(1, 1))
    if rank == 0:
        empty.update((images > 0.5).float(), (labels[:, None] > 0).float())
    found["one rank has no case"] = float(empty.compute())
    (folder / f"rank{rank}.json").write_text(json.dumps(found))
    distributed.barrier()  # so that neither leaves while the other still needs it


def _second(folder: Path) -> int:
    """Fork the process of rank 1, which needs no import of its own; its process number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.environ["LOCAL_RANK"] = "1"
            main(1, folder)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    other = _second(place)
    os.environ["LOCAL_RANK"] = "0"
    main(0, place)
    failed = os.waitstatus_to_exitcode(os.waitpid(other, 0)[1])
    sys.stderr.flush()
    # The process group is not taken down: its destructor may wait, with the interpreter locked, for a thread of its own
    # that waits for the interpreter.
    os._exit(failed)
