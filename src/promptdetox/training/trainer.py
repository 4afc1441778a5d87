"""The one training loop: transformers' Trainer, with our batches, loss, metric and checkpoints."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PrinterCallback, Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from promptdetox.errors import FileError, ModelError
from promptdetox.training.adversarial import Attack, perturbed
from promptdetox.training.checkpoints import newest_whole, seal
from promptdetox.training.objective import Objective
from promptdetox.training.progress import Progress

log = logging.getLogger(__name__)

_TRAINED = "trained.safetensors"


class DetoxTrainer(Trainer):  # type: ignore[misc]  # transformers ships no types
    """Trains what a method attached.

    Args:
        network: With the method attached.
        settings: ``TrainingArguments``; a batch of theirs is one of ours.
        batches: Every batch of the run, in order, one for each process in turn.
        objective: Gives tensors, loss and figures.
        is_validated: Figures are taken.
        attack: Adversarial training; None for none.
        callbacks: Trainer's.
    """

    control: Any  # these are Trainer's own, which ships no types
    state: Any

    def __init__(
        self,
        network: Any,
        settings: Any,
        *,
        batches: Sequence[Any],
        objective: Objective,
        is_validated: bool,
        attack: Attack | None = None,
        callbacks: Sequence[Any] = (),
    ) -> None:
        super().__init__(
            model=network,
            args=settings,
            train_dataset=batches,
            data_collator=lambda items: objective.collate(items[0]),
            eval_dataset=[0] if is_validated else [],
            callbacks=[Progress(), *callbacks],
        )
        self.remove_callback(PrinterCallback)
        self._objective, self._attack = objective, attack
        self.model_accepts_loss_kwargs = False

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the loss of a batch.

        Raises:
            ModelError: It is not finite.
        """
        sums, counts = self._objective.loss(model, inputs)
        n_processes = self.accelerator.num_processes
        if n_processes > 1:
            # The gradients are averaged over the processes: each part counts by all its examples.
            counts = self.accelerator.reduce(counts, reduction="sum")
        loss = (sums / counts.clamp(min=1)).mean() * n_processes
        if not torch.isfinite(loss):
            raise ModelError(
                f"the loss is {float(loss.detach())} at step {self.state.global_step + 1}, "
                f"batch of {len(inputs['input_ids'])} x {inputs['input_ids'].shape[1]} tokens: "
                "lower --learning-rate, or look at the texts of this batch; the last checkpoint is "
                "kept."
            )
        return loss

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Take the gradient of a batch, and with an attack that of the moved batch too."""
        loss = super().training_step(model, dict(inputs), *args, **kwargs)
        if self._attack is None:
            return loss
        own = self.accelerator.unwrap_model(model)
        prepared = self._prepare_inputs(dict(inputs))

        mask = prepared["attention_mask"]

        def loss_of() -> Any:
            with self.compute_loss_context_manager():
                return self.compute_loss(own, prepared)

        delta = self._attack.find(own, loss_of, mask)
        with perturbed(own, delta):
            super().training_step(model, dict(inputs), *args, **kwargs)
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return the figures on the validation data, as ``eval_<name>``."""
        log.info("validating at step %d", self.state.global_step)
        self.model.eval()
        figures = self._objective.measure(self.model)
        metrics = {f"eval_{name}": value for name, value in figures.items()}
        self.model.train()
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # Trainer's own would write all weights, and its arguments as a pickle.
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        trained = {n: p.detach() for n, p in self.model.named_parameters() if p.requires_grad}
        save_file({n: t.contiguous() for n, t in trained.items()}, folder / _TRAINED)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        trained = load_file(Path(resume_from_checkpoint, _TRAINED))
        self.model.load_state_dict(trained, strict=False)

    def _load_best_model(self) -> None:
        if self.state.best_model_checkpoint is not None:
            self._load_from_checkpoint(self.state.best_model_checkpoint)

    def restore(self, checkpoint: Path) -> None:
        """Become what a finished run was at its end, without a further step."""
        self.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        self._load_best_model()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint, whole or not at all.

        Raises:
            FileError: It cannot be written; the message has the last one that is whole.
        """
        folder = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
        try:
            super()._save_checkpoint(model, trial)
            # Each process writes the state of its random numbers.
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                seal(folder)
        except (OSError, RuntimeError, SafetensorError) as error:  # what os, torch and theirs raise
            shutil.rmtree(folder, ignore_errors=True)
            last = newest_whole(folder.parent)
            kept = f"the last good one is {last}" if last else "there is none before it"
            raise FileError(
                f"cannot write the checkpoint {folder} ({str(error).splitlines()[0]}): {kept}; "
                "free some space and go on with --resume auto."
            ) from error
        self.accelerator.wait_for_everyone()
