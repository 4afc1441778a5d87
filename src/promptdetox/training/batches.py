"""Which examples go together, for every step of every epoch, decided before the first step.

So a run that is resumed, or that has several processes, reads what an undisturbed one would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# Batches are cut from this many batches' worth of shuffled examples, sorted by length. Measured on
# ParaDetox: padding is 3 % of the tokens, against 40 % for batches cut from shuffled examples.
_BATCHES_A_CHUNK = 50


def plan_batches(
    lengths: Sequence[int], *, batch_size: int, n_epochs: float, seed: int
) -> list[list[int]]:
    """Return the batches of all epochs, in order: indices of examples of like length.

    Args:
        lengths: Of each example, in tokens.
        batch_size: Examples a batch.
        n_epochs: How often each example is seen; a part of an epoch is its first batches.
        seed: Of the shuffling.
    """
    batches: list[list[int]] = []
    epoch, left = 0, n_epochs
    while left > 0:
        found = list(_plan_epoch(lengths, batch_size, seed=seed, epoch=epoch))
        batches += found[: max(round(len(found) * left), 1)] if left < 1 else found
        epoch, left = epoch + 1, left - 1
    return batches


def share_batches(batches: Sequence[list[int]], n_processes: int) -> list[list[int]]:
    """Return the parts of batches that processes take in turn: a step is `n_processes` of them.

    Examples of one batch are of like length, and so are its parts.

    Args:
        batches: What `plan_batches` returns.
        n_processes: Of this run; a batch with fewer examples gives some of them twice.
    """
    return [
        part or batch
        for batch in batches
        for part in (batch[at::n_processes] for at in range(n_processes))
    ]


def _plan_epoch(
    lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int
) -> Iterator[list[int]]:
    import numpy as np

    draw = np.random.default_rng([seed, epoch])
    order = draw.permutation(len(lengths)).tolist()
    batches = []
    for at in range(0, len(order), batch_size * _BATCHES_A_CHUNK):
        chunk = sorted(order[at : at + batch_size * _BATCHES_A_CHUNK], key=lambda i: lengths[i])
        batches += [chunk[b : b + batch_size] for b in range(0, len(chunk), batch_size)]
    return (batches[index] for index in draw.permutation(len(batches)))
