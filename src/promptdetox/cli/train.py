"""``promptdetox train``: learn an adapter from pairs."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

from promptdetox.cli.settings import add_settings, add_verbosity, example_epilog
from promptdetox.config import TrainConfig, load_recipe

log = logging.getLogger(__name__)

_HELP = {
    "data": "what is learnt from: a file, or hf:name; rewrite: columns text and target, or "
    "targets, a list; classify: text and --labels; tag: text and spans, or a .conll file; detect: "
    "text, spans and --labels, each where it is known",
    "output": "folder that the result goes to",
    "dev": "what is validated on; the best step is the result (default: none, the last step is)",
    "task": "what is learnt: rewrite, classify, tag or detect",
    "model": "base model: a packaged one, a folder, a GGUF file or a hub id (default: "
    "smollm2-135m-instruct for rewrite, all-minilm-l6-v2 for the others)",
    "text_column": "column of the text",
    "target_column": "rewrite: column of the targets (default: targets, or target)",
    "labels": "classify, detect: columns to learn (default: label)",
    "weights": "how much a column's loss counts, NAME=N,... (default: 1 each)",
    "method": "tuning method",
    "template": "prompt template: a name or a TOML file (default: rewrite-tuned.v1)",
    "detector": "leaves out targets in which it finds something; none keeps all",
    "references": "of several targets learn all, or the one nearest to the text",
    "epochs": "how often each pair is seen",
    "batch_size": "pairs a step",
    "max_length": "tokens of prompt and target; longer pairs are left out, and counted",
    "learning_rate": "at its highest",
    "schedule": "linear, cosine or constant",
    "warmup": "share of the steps in which the learning rate rises",
    "optimizer": "adamw or sgd",
    "weight_decay": "of the trained weights",
    "max_grad_norm": "gradients are clipped to this norm; 0: never",
    "label_smoothing": "share of the probability that goes to all other tokens",
    "unlikelihood": "rewrite: weight of the penalty on copying what the target leaves out",
    "dropout": "of the method's own layers",
    "rank": "LoRA: rank of the matrices",
    "alpha": "LoRA: scale is alpha / rank; 0: twice the rank",
    "targets": "LoRA: layers (default: all linear ones but the output)",
    "dora": "LoRA: learn the magnitude apart",
    "n_virtual_tokens": "prompt tuning, prefix tuning, P-tuning: tokens that are learnt",
    "init": "prompt tuning: begin as vocabulary, random or text",
    "init_text": "prompt tuning: the text to begin as",
    "n_layers": "top layers: how many",
    "train_embeddings": "top layers: the input embeddings too",
    "train_head": "top layers: the output layer too",
    "bottleneck": "bottleneck adapters: inner width",
    "placement": "bottleneck adapters: houlsby or pfeiffer",
    "eval_every": "steps between validations and checkpoints",
    "n_dev": "pairs to validate on",
    "patience": "stop after so many validations without a better score; 0: never",
    "bf16": "multiply in bfloat16",
    "adversarial": "learn moved embeddings too: none, fgm (one step) or pgd (several)",
    "adversarial_epsilon": "how far they move, as a share of their norm",
    "adversarial_steps": "steps of pgd",
    "augment": "add changed copies of texts, made by these augmentations",
    "augment_share": "share of the texts that get one",
    "augment_model": "what writes synonyms and paraphrases (default: smollm2-135m-instruct)",
    "translators": "two models for back-translation: there and back",
    "seed": "of everything that is drawn",
    "threads": "threads of torch (default: one a core)",
}


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "train",
        help="learn to rewrite, classify, tag or detect from data of your own",
        description="Learn an adapter on a frozen base model. Needs `pip install "
        "'promptdetox[train]'`. The result is a folder for `rewrite --model`; of --task tag or "
        "detect, for `rewrite --detector`.",
        epilog=example_epilog(
            "promptdetox train --data pairs.jsonl --dev dev.jsonl --output my-detox",
            "promptdetox train --recipe recipes/detox-smollm2.v1.toml --resume auto",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--resume",
        choices=("auto", "never"),
        default="never",
        help="auto goes on from the newest whole checkpoint in --output (default: never)",
    )
    add_settings(parser, TrainConfig, _HELP, config_flag="--recipe")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb and return the exit code."""
    from promptdetox.train import train
    from promptdetox.training.checkpoints import newest_whole

    # torchrun and accelerate start one process a device; the first one speaks for all.
    is_first = os.environ.get("RANK", "0") == "0"
    if not is_first:
        logging.getLogger("promptdetox").setLevel(logging.ERROR)
    overrides = {field.name: getattr(args, field.name) for field in fields(TrainConfig)}
    # peft and transformers warn of each other's old names; no user can mend that.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    warnings.filterwarnings("ignore", category=UserWarning, module="peft")
    config = load_recipe(args.config, overrides)
    try:
        folder = train(config, is_resumed=args.resume == "auto")
    except KeyboardInterrupt:
        kept = newest_whole(Path(config.output, "checkpoints"))
        log.warning(
            "%s", f"go on from {kept} with --resume auto" if kept else "nothing was saved yet"
        )
        raise
    if is_first:
        sys.stdout.write(f"{folder}\n")
    return 0
