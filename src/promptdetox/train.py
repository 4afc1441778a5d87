"""Learn an adapter from pairs: base -> examples -> method -> loop -> a folder to rewrite with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptdetox import registry
from promptdetox.config import TrainConfig
from promptdetox.detect import load_tagger
from promptdetox.engines.transformers import import_torch, load_network
from promptdetox.models.catalog import find_model
from promptdetox.models.tokenizer import PromptTokenizer
from promptdetox.prompts.builder import PromptBuilder
from promptdetox.prompts.template import Template, load_template
from promptdetox.records import read_records
from promptdetox.tasks import load_task
from promptdetox.training.batches import plan_batches
from promptdetox.training.checkpoints import find_checkpoint
from promptdetox.training.examples import Examples, describe_left_out, read_examples
from promptdetox.training.result import Course, write_result
from promptdetox.types import Tagger

log = logging.getLogger(__name__)

_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
_OPTIMIZERS = {"adamw": "adamw_torch", "sgd": "sgd"}


def train(config: TrainConfig, *, is_resumed: bool = False) -> Path:
    """Train, and return the folder that `rewrite --model` takes.

    Args:
        config: The recipe.
        is_resumed: Go on from the newest whole checkpoint in the output folder, if there is one.

    Raises:
        ConfigError: An unknown name, or a method that does not fit the base model.
        DataError: No pair to learn from.
        ModelError: torch or the weights are missing, or the loss is not finite.
    """
    import_torch()
    # Names are checked first: a misspelt one must not cost the seconds a model takes to load.
    load_task(config.task)
    method = registry.resolve("method", config.method)
    template = load_template(config.template or "rewrite-tuned.v1")
    tagger = None if config.detector == "none" else load_tagger(config.detector)
    source = find_model(config.model)
    base = load_base(config, template)
    examples = read_pairs(config, base, tagger)
    network = method.attach(base.network, config, base.tokenizer)
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    n_trained, n_all = sum(n for n, is_trained in sizes if is_trained), sum(n for n, _ in sizes)
    log.info(
        "%s trains %s of %s parameters (%.2f %%)",
        config.method,
        f"{n_trained:,}",
        f"{n_all:,}",
        100 * n_trained / n_all,
    )
    trainer = build_trainer(config, base, network, examples, tagger)
    checkpoint = None
    if is_resumed:
        checkpoint = find_checkpoint(Path(config.output, "checkpoints"))
        log.info("going on from %s", checkpoint or "the start: there is no checkpoint yet")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    course = Course(
        n_trained=n_trained,
        n_all=n_all,
        n_steps=trainer.state.global_step,
        history=trainer.state.log_history,
    )
    folder = Path(config.output)
    write_result(
        folder,
        save=lambda into: method.save(trainer.model, into),
        config=config,
        source=source,
        template=template,
        examples=examples,
        course=course,
    )
    return folder


@dataclass(frozen=True)
class Base:
    """The base model and what turns text into its tokens."""

    network: Any
    tokenizer: PromptTokenizer
    builder: PromptBuilder
    end_id: int

    @property
    def is_seq2seq(self) -> bool:
        """True if prompt and target are two sequences."""
        return bool(self.network.config.is_encoder_decoder)


def load_base(config: TrainConfig, template: Template) -> Base:
    """Return the base model, frozen or not, with everything drawn from the recipe's seed."""
    from transformers import set_seed

    network, hf_tokenizer = load_network(config.model, threads=config.threads)
    set_seed(config.seed)
    specials = {n: t for n in ("bos_token", "eos_token") if (t := getattr(hf_tokenizer, n))}
    tokenizer = PromptTokenizer(
        hf_tokenizer.backend_tokenizer.to_str(), bos_token=hf_tokenizer.bos_token
    )
    builder = PromptBuilder(
        template,
        chat_template=hf_tokenizer.chat_template,
        special_tokens=specials,
        count_tokens=lambda prompt: len(tokenizer.encode(prompt)),
        max_tokens=config.max_length,
    )
    return Base(network, tokenizer, builder, int(hf_tokenizer.eos_token_id))


def read_pairs(config: TrainConfig, base: Base, tagger: Tagger | None) -> Examples:
    """Return the examples of the recipe's data, and say what was left out."""
    examples = read_examples(
        read_records(Path(config.data)),
        name=config.data,
        builder=base.builder,
        tokenizer=base.tokenizer,
        end_id=base.end_id,
        is_seq2seq=base.is_seq2seq,
        max_length=config.max_length,
        tagger=tagger,
    )
    log.info(
        "%s: %d pairs of %d rows; left out: %s",
        config.data,
        len(examples.examples),
        examples.n_rows,
        describe_left_out(examples.left_out),
    )
    return examples


def build_trainer(
    config: TrainConfig,
    base: Base,
    network: Any,
    examples: Examples,
    tagger: Tagger | None,
) -> Any:
    """Return the loop, ready to train what the method attached to the network."""
    from transformers import EarlyStoppingCallback

    from promptdetox.training.loss import collate
    from promptdetox.training.trainer import DetoxTrainer
    from promptdetox.training.validation import Validation

    plan = plan_batches(
        [len(example) for example in examples.examples],
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        seed=config.seed,
    )
    measure = None
    if config.dev is not None:
        measure = Validation(
            Path(config.dev),
            n=config.n_dev,
            builder=base.builder,
            tokenizer=base.tokenizer,
            end_id=base.end_id,
            tagger=tagger,
            is_seq2seq=base.is_seq2seq,
        ).measure
    return DetoxTrainer(
        network,
        _trainer_settings(config, n_steps=len(plan)),
        batches=[[examples.examples[index] for index in batch] for batch in plan],
        collate=lambda batch: collate(batch, pad_id=base.end_id, is_seq2seq=base.is_seq2seq),
        is_seq2seq=base.is_seq2seq,
        label_smoothing=config.label_smoothing,
        measure=measure,
        callbacks=[EarlyStoppingCallback(config.patience)] if config.patience else [],
    )


def _trainer_settings(config: TrainConfig, *, n_steps: int) -> Any:
    import torch
    from transformers import TrainingArguments

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
        use_cpu=not torch.cuda.is_available(),
    )
