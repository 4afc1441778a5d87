"""The one training loop: transformers' Trainer, with our batches, loss, metric and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PrinterCallback, Trainer

from promptdetox.errors import ModelError
from promptdetox.training.checkpoints import seal
from promptdetox.training.loss import target_loss
from promptdetox.training.progress import Progress

_TRAINED = "trained.safetensors"


class DetoxTrainer(Trainer):  # type: ignore[misc]  # transformers ships no types
    """Trains what a method attached.

    Args:
        network: With the method attached.
        settings: ``TrainingArguments``; a batch of theirs is one of ours.
        batches: Every batch of the run, in order.
        collate: Batch -> tensors.
        is_seq2seq: Kind of the network.
        label_smoothing: See `target_loss`.
        measure: Network -> figures, ``score`` among them; None for no validation.
        callbacks: Trainer's.
    """

    control: Any  # Trainer's own, which ships no types

    def __init__(
        self,
        network: Any,
        settings: Any,
        *,
        batches: Sequence[Any],
        collate: Callable[[Any], dict[str, Any]],
        is_seq2seq: bool,
        label_smoothing: float,
        measure: Callable[[Any], dict[str, float]] | None,
        callbacks: Sequence[Any] = (),
    ) -> None:
        super().__init__(
            model=network,
            args=settings,
            train_dataset=batches,
            data_collator=lambda items: collate(items[0]),
            eval_dataset=[] if measure is None else [0],
            callbacks=[Progress(), *callbacks],
        )
        self.remove_callback(PrinterCallback)
        self._is_seq2seq, self._label_smoothing = is_seq2seq, label_smoothing
        self._measure = measure
        self.model_accepts_loss_kwargs = False
        self.n_tokens = 0

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
        self.n_tokens += int(inputs["attention_mask"].sum())
        loss = target_loss(
            model, inputs, is_seq2seq=self._is_seq2seq, label_smoothing=self._label_smoothing
        )
        if not torch.isfinite(loss):
            raise ModelError(
                f"the loss is {float(loss.detach())} at step {self.state.global_step + 1}, "
                f"batch of {len(inputs['input_ids'])} x {inputs['input_ids'].shape[1]} tokens: "
                "lower --learning-rate, or look at the texts of this batch; the last checkpoint is "
                "kept."
            )
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return the figures on the validation pairs, as ``eval_<name>``."""
        assert self._measure is not None
        self.model.eval()
        metrics = {f"eval_{name}": value for name, value in self._measure(self.model).items()}
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

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            seal(Path(self.args.output_dir, f"checkpoint-{self.state.global_step}"))
