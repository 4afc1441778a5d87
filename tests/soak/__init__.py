"""Long runs, scaled: ``PROMPTDETOX_SOAK_TENTHS`` is 1 in `make test` and 10 in `make soak`."""
