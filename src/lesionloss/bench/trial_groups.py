"""Which trials are executed together: losses of one pair, which then train side by side on the same batches."""

from collections.abc import Iterable, Sequence

from lesionloss.bench.gpu_sharing import memory_of_gpu
from lesionloss.bench.parallel_trials import USED_SHARE, MemoryNeed
from lesionloss.core.allocator import free_memory
from lesionloss.core.number_text import plural
from lesionloss.training.trial import Trial

Group = tuple[str, ...]  # the keys of trials


def networks_together(need: MemoryNeed, jobs: int, losses: int, wanted: int | None = None, device: str = "cpu") -> int:
    """Return how many networks train side by side: all losses of a pair where memory allows, at least one.

    They take turns, so there are the activations of one step only; each further network adds its weights, gradients and
    moments.

    Args:
        need: Memory of one trial.
        jobs: Processes that share the memory.
        losses: Losses of a pair.
        wanted: What the user asked for; None: as memory allows.
        device: cpu or cuda:N, whose memory it is. Where this machine has no such device, all losses are taken, because
            a trial without memory is executed again alone.
    """
    if wanted is not None:
        return min(losses, wanted)
    free = free_memory() if device == "cpu" else memory_of_gpu(device)
    if not free or not need.network_bytes:
        return losses
    spare = int(USED_SHARE * free) // jobs - need.total
    return max(1, min(losses, 1 + spare // need.network_bytes))


def groups_of(trials: Iterable[Trial], together: int, parallel: int = 1) -> list[Group]:
    """Return groups of at most `together` trials of one pair, pair by pair.

    The last pairs, which can't keep all processes at work, are split so that every process gets a part of them.

    Args:
        trials: Trials in order.
        together: Most trials of a group.
        parallel: Groups that are executed at a time.
    """
    by_pair: dict[tuple[str, str], list[str]] = {}
    for trial in trials:
        by_pair.setdefault((trial.pair, trial.method), []).append(trial.key)
    pairs = list(by_pair.values())
    whole = len(pairs) - len(pairs) % parallel
    part = -(-sum(map(len, pairs[whole:])) // parallel)
    sizes = [together if number < whole else min(together, part) for number in range(len(pairs))]
    return [
        tuple(keys[at : at + size]) for keys, size in zip(pairs, sizes, strict=True) for at in range(0, len(keys), size)
    ]


def networks_of(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that train a network."""
    return [trial for trial in trials if trial.method == "network"]


def together_in_words(together: int, need: MemoryNeed) -> str:
    """Return how many networks train side by side, and what each adds, in one line."""
    if together == 1:
        return "each loss trains alone"
    more = f"each further network adds about {need.network_bytes / 2**20:.0f} MiB"
    return f"{plural(together, 'network')} of a pair train side by side, on batches made once for all ({more})"
