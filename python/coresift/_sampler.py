"""A coreset as the sampler of a PyTorch `DataLoader`. It needs no PyTorch: any object that can be iterated does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


class CoresetSampler:
    """Yields the positions of a coreset's samples in the training set, in another order each epoch.

    `DataLoader(train, batch_size=128, sampler=subset.sampler(seed=0))` trains on the coreset alone.

    draw="shuffle"  every sample once an epoch. Weights, if there are any, belong into the loss:
                    `subset.weight_of(n)[batch]`.
    draw="weights"  as many draws as the coreset has samples, with replacement, in proportion to their weights.

    Epoch e has the order of the generator seeded by (seed, e). Each `iter()` is the next epoch; `set_epoch` goes to
    another one, as Lightning and Accelerate call it. `rank` and `world` give each of several processes its share:
    equal shares, the last ones filled up from the beginning.
    """

    def __init__(
        self,
        indices: Any,
        weights: Any = None,
        *,
        seed: int = 0,
        draw: str = "shuffle",
        rank: int = 0,
        world: int = 1,
    ):
        if draw not in ("shuffle", "weights"):
            raise ValueError(f"draw is {draw!r}: expected 'shuffle' or 'weights'")
        if not 0 <= rank < world:
            raise ValueError(f"rank is {rank} of {world} processes")
        self.indices = np.asarray(indices, dtype=np.int64)
        if len(self.indices) == 0:
            raise ValueError("the coreset has no samples")
        self._shares = None
        if draw == "weights" and weights is not None:
            shares = np.asarray(weights, dtype=np.float64)
            if shares.shape != self.indices.shape:
                raise ValueError(f"{len(self.indices)} samples, but {len(shares)} weights")
            if not shares.sum() > 0:
                raise ValueError("all weights are 0")
            self._shares = shares / shares.sum()
        self.draw = draw
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lets the next iteration be epoch `epoch`."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.indices) // self.world)

    def __iter__(self) -> Iterator[int]:
        order = self.order(self.epoch)
        self.epoch += 1
        return iter(order.tolist())

    def order(self, epoch: int) -> np.ndarray:
        """The positions that epoch `epoch` yields to this process."""
        generator = np.random.default_rng([self.seed, epoch])
        n = len(self.indices)
        if self.draw == "shuffle":
            picked = generator.permutation(n)
        else:
            picked = generator.choice(n, size=n, p=self._shares)
        picked = np.resize(picked, len(self) * self.world)
        return self.indices[picked[self.rank :: self.world]]
