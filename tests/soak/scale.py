"""How long the long runs are, for fixtures and for decorators."""

from __future__ import annotations

import os
import secrets

from hypothesis import HealthCheck, settings

TENTHS = int(os.environ.get("PROMPTDETOX_SOAK_TENTHS", "1"))
SEED = int(os.environ.get("PROMPTDETOX_SOAK_SEED", "0")) or secrets.randbits(32)


def fuzz(n_examples: int) -> settings:
    """Return hypothesis settings: so many examples in `make test`, ten times that in `make soak`.

    A failure prints the line that reproduces it.
    """
    return settings(
        max_examples=n_examples * TENTHS,
        deadline=None,
        derandomize=False,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
