"""Patches from several pools of cases in fixed shares, such as real and synthetic ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lesionloss.data.batches.patch_samplers import Cases, Draws, Sampler, Window
from lesionloss.data.batches.patches import Stream

ROUNDING = 1e-9  # so that 9 of 10 patches stay 9, whatever float64 makes of 1 - 0.1


@dataclass(frozen=True)
class Pool:
    """The cases whose names begin with `prefix`, and their share of the patches."""

    prefix: str
    share: float


@dataclass(frozen=True)
class SharedPools:
    """A sampler over each pool of cases by itself; the patches of all batches take turns in the pools' shares.

    Which pool has its turn depends only on the position of the patch, so that every batch has the same shares, as far
    as its size allows. Cases of no pool are the first pool and have the share that is left.

    Attributes:
        sampler: Where patches lie in the cases of a pool.
        pools: The other pools.
    """

    sampler: Sampler
    pools: tuple[Pool, ...]

    def over(self, cases: Cases) -> Draws:
        """Prepare the draws of each pool; an epoch visits the cases of no pool once.

        Raises:
            UsageError: There is nothing to draw from a pool.
        """
        prefixes = tuple(pool.prefix for pool in self.pools)
        own = self.sampler.over({name: case for name, case in cases.items() if not name.startswith(prefixes)})
        others = [
            self.sampler.over({name: case for name, case in cases.items() if name.startswith(prefix)})
            for prefix in prefixes
        ]
        shares = [1.0 - sum(pool.share for pool in self.pools), *(pool.share for pool in self.pools)]

        def window(stream: Stream, step: int, place: int, batch: int) -> Window:
            number, position = turn_of((step - 1) * batch + place, shares)
            draws, name = (own, stream) if number == 0 else (others[number - 1], (*stream, prefixes[number - 1]))
            return draws.window(name, position // batch + 1, position % batch, batch)

        per_epoch = None if own.per_epoch is None else math.ceil(own.per_epoch / shares[0] - ROUNDING)
        return Draws(own.size, window, per_epoch, own.padding_counts)


def turn_of(position: int, shares: Sequence[float]) -> tuple[int, int]:
    """Find which pool a position in the sequence of all patches belongs to.

    Args:
        position: Number of the patch, from 0.
        shares: Share of each pool; their sum is 1.

    Returns:
        Number of the pool, and how many earlier patches were of that pool.
    """
    left = 1.0
    for number, share in enumerate(shares[:-1]):
        before, after = (math.floor(patches * share / left + ROUNDING) for patches in (position, position + 1))
        if after > before:
            return number, before
        position, left = position - before, left - share
    return len(shares) - 1, position
