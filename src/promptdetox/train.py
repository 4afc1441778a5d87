"""Learn from data: recipe -> objective (base, examples) -> method -> loop -> a folder to use."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptdetox import registry
from promptdetox.config import TrainConfig
from promptdetox.engines.transformers import import_torch, n_threads
from promptdetox.errors import ConfigError, FileError, UsageError
from promptdetox.models.catalog import find_model
from promptdetox.models.fit import check_fit
from promptdetox.records.conll import SUFFIXES, read_conll
from promptdetox.records.hub import HUB_PREFIX
from promptdetox.tasks import load_task
from promptdetox.training.checkpoints import (
    find_checkpoint,
    read_recipe_digest,
    write_recipe_digest,
)
from promptdetox.training.data import read_rows
from promptdetox.training.objective import Objective

log = logging.getLogger(__name__)

_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
_OPTIMIZERS = {"adamw": "adamw_torch", "sgd": "sgd"}


def train(config: TrainConfig, *, is_resumed: bool = False) -> Path:
    """Train, and return the folder that holds the result.

    Several processes, started by ``accelerate launch`` or ``torchrun``, share each batch.

    Args:
        config: The recipe.
        is_resumed: Go on from the newest whole checkpoint in the output folder, if there is one.

    Raises:
        ConfigError: An unknown name, or a method or task that does not fit the base model.
        DataError: Nothing to learn from.
        FileError: The output is a file, or the disk is full.
        UsageError: The output has checkpoints, and `is_resumed` is not set.
        ModelError: torch or the weights are missing, or the loss is not finite.
    """
    import_torch()
    # Names are checked first: a misspelt one must not cost the seconds a model takes to load.
    task = load_task(config.task)
    config = replace(config, model=config.model or task.model)
    folder = Path(config.output)
    check_output(folder, config, is_resumed=is_resumed)
    check_data(config)
    method = registry.resolve("method", config.method)
    kind_of_objective = registry.resolve("objective", task.objective)
    check_fit(config, method, kind_of_objective.kinds)

    from promptdetox.training.patience import was_over
    from promptdetox.training.result import Course, write_result

    source = find_model(config.model or "")
    log.info("loading %s and %s", config.model, config.data)
    objective: Objective = kind_of_objective(config)
    log.info("%s: %s", config.data, objective.examples.describe())
    network = attach_method(config, objective)
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    n_trained, n_all = sum(n for n, is_trained in sizes if is_trained), sum(n for n, _ in sizes)
    log.info(
        "%s trains %s of %s parameters (%.2f %%)",
        config.method,
        f"{n_trained:,}",
        f"{n_all:,}",
        100 * n_trained / n_all,
    )
    trainer = build_trainer(config, objective, network)
    checkpoint = _find_checkpoint(config, trainer)
    if checkpoint and config.patience and was_over(checkpoint, config.patience):
        trainer.restore(checkpoint)
    else:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.is_world_process_zero():
        write_result(
            folder,
            save=lambda into: objective.save(trainer.model, into, method.save),
            config=config,
            source=source,
            objective=objective,
            course=Course(
                n_trained=n_trained,
                n_all=n_all,
                n_steps=trainer.state.global_step,
                history=trainer.state.log_history,
            ),
        )
    trainer.accelerator.wait_for_everyone()
    return folder


def attach_method(config: TrainConfig, objective: Objective) -> Any:
    """Return what is trained, with everything drawn from the recipe's seed."""
    from transformers import set_seed

    set_seed(config.seed)
    method = registry.resolve("method", config.method)
    return objective.finish(method.attach(objective.network, config, objective.tokenizer))


def build_trainer(config: TrainConfig, objective: Objective, network: Any) -> Any:
    """Return the loop, ready to train what the method attached to the network."""
    import torch

    from promptdetox.training.adversarial import Attack
    from promptdetox.training.batches import plan_batches, share_batches
    from promptdetox.training.patience import Patience
    from promptdetox.training.trainer import DetoxTrainer

    examples = objective.examples.examples
    plan = plan_batches(
        [len(example) for example in examples],
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        seed=config.seed,
    )
    settings = _trainer_settings(config, n_steps=len(plan))
    n_processes = settings.world_size
    # CTranslate2, where a model of it was used, has told OpenMP to use one thread.
    torch.set_num_threads(config.threads or max(n_threads() // n_processes, 1))
    steps = 1 if config.adversarial == "fgm" else config.adversarial_steps
    return DetoxTrainer(
        network,
        settings,
        batches=[[examples[i] for i in part] for part in share_batches(plan, n_processes)],
        objective=objective,
        is_validated=config.dev is not None,
        attack=None if config.adversarial == "none" else Attack(config.adversarial_epsilon, steps),
        callbacks=[Patience(config.patience)] if config.patience else [],
    )


def check_data(config: TrainConfig) -> None:
    """Check that what is learnt from and validated on is there, and has the column of the text.

    Raises:
        DataError: A column is missing, or the first row is broken.
        FileError: There is no such file.
    """
    for name in (config.data, config.dev):
        if name is not None and not name.startswith(HUB_PREFIX):
            if Path(name).suffix.lower() in SUFFIXES:
                next(read_conll(Path(name)), None)
            else:
                next(read_rows(name, config), None)


def check_output(folder: Path, config: TrainConfig, *, is_resumed: bool) -> None:
    """Check that the folder is free, or holds checkpoints of the same recipe to go on from.

    Raises:
        FileError: It is a file, or cannot be written to.
        UsageError: It has checkpoints, and they are not to be used.
        ConfigError: They are another recipe's.
    """
    if folder.exists() and not folder.is_dir():
        raise FileError(f"--output {folder} is a file: expected a folder, or a new name.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FileError(
            f"cannot write into --output {folder}: {error.strerror}; give another folder."
        ) from error
    known = read_recipe_digest(folder / "checkpoints")
    if known is None:
        return
    if not is_resumed:
        raise UsageError(
            f"{folder} has checkpoints of a run: go on with --resume auto, give another --output, "
            f"or remove {folder / 'checkpoints'}."
        )
    if known != config.resume_digest:
        raise ConfigError(
            f"the checkpoints in {folder} are another recipe's: give the same settings as then, "
            f"another --output, or remove {folder / 'checkpoints'}."
        )


def _find_checkpoint(config: TrainConfig, trainer: Any) -> Path | None:
    """Return what to go on from, and mark the folder as this recipe's."""
    folder = Path(config.output, "checkpoints")
    with trainer.args.main_process_first(desc="looking for a checkpoint"):
        known = read_recipe_digest(folder)
        found = find_checkpoint(folder) if known is not None else None
        if trainer.is_world_process_zero() and known is None:
            write_recipe_digest(folder, config.resume_digest)
    if known is not None:
        log.info("going on from %s", found or "the start: there is no checkpoint yet")
    return found


def _trainer_settings(config: TrainConfig, *, n_steps: int) -> Any:
    import torch
    from transformers import TrainingArguments

    has_gpu = torch.cuda.is_available()
    is_shared = int(os.environ.get("WORLD_SIZE", "1")) > 1  # set by torchrun and accelerate
    return TrainingArguments(
        output_dir=str(Path(config.output, "checkpoints")),
        per_device_train_batch_size=1,  # a batch of theirs is one of ours
        max_steps=n_steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type=_SCHEDULES[config.schedule],
        warmup_steps=round(config.warmup * n_steps),
        optim=_OPTIMIZERS[config.optimizer],
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        bf16=config.bf16,
        seed=config.seed,
        eval_strategy="steps" if config.dev else "no",
        eval_steps=config.eval_every,
        save_steps=config.eval_every,
        save_total_limit=3,
        load_best_model_at_end=config.dev is not None,
        metric_for_best_model="score",
        greater_is_better=True,
        logging_steps=min(20, max(n_steps // 10, 1)),
        disable_tqdm=True,
        logging_nan_inf_filter=False,
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        use_cpu=not has_gpu,
        ddp_backend="gloo" if is_shared and not has_gpu else None,
    )
