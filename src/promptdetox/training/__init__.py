"""Training: pairs -> examples -> batches -> one loop -> an adapter.

::

    read_examples(path, ...)     -> Examples       (counted: what was left out, and why)
    plan_batches(lengths, ...)   -> batches        (every epoch, in order, before the first step)
    DetoxTrainer(...).train()    -> checkpoints    (each whole or not there)
"""
