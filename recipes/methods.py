"""Every tuning method on the same data with the same budget: 20 minutes of two cores.

    python recipes/methods.py                # the rows that are missing, about 22 minutes each
    python recipes/methods.py lora ia3       # some
    python recipes/methods.py --plot         # results/methods.svg, from the rows that are there

A method's learning rate and sizes stand in METHODS. How many steps fit the budget is found by
timing ten of them, and written to recipes/methods/<method>.toml, which trains the same adapter
again. The budget counts the processor time of the steps, so a busy machine takes longer and learns
as much; validation is not part of it. A row is written when its method is done, and is not made
again; a run that was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from dataclasses import fields, replace
from typing import Any

import tomli_w
from bench import DATA, ROOT, machine

from promptdetox import registry
from promptdetox.config import TrainConfig, load_recipe

TABLE = ROOT / "results" / "methods.json"
RECIPES = ROOT / "recipes" / "methods"
BUDGET_S = 2 * 20 * 60  # of processor time
# The learning rates that the methods' papers and peft's examples use at this size.
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"learning_rate": 5e-4, "rank": 16},
    "ia3": {"learning_rate": 5e-3},
    "bottleneck": {"learning_rate": 5e-4, "bottleneck": 64},
    "prompt-tuning": {
        "learning_rate": 1e-2,
        "n_virtual_tokens": 20,
        "init": "text",
        "init_text": "Rewrite the toxic comment so that it is polite and neutral and keeps its "
        "meaning.",
        "batch_size": 16,
    },
    "prefix-tuning": {"learning_rate": 1e-2, "n_virtual_tokens": 20},
    "p-tuning": {"learning_rate": 1e-3, "n_virtual_tokens": 20},
    "bitfit": {"learning_rate": 2e-3},
    "top-layers": {"learning_rate": 1e-4, "n_layers": 4},
    "full": {"learning_rate": 1e-4},
}
COMMON: dict[str, Any] = {
    "data": "../shared/data/paradetox/train.jsonl",
    "dev": "../shared/data/paradetox/dev.jsonl",
    "model": "smollm2-135m-instruct",
    "schedule": "cosine",
    "references": "nearest",
    "unlikelihood": 1.0,
    "n_dev": 293,
}
N_PROBE = 10


def recipe_of(method: str) -> TrainConfig:
    """Return a method's recipe, made to fit the budget if there is none yet."""
    path = RECIPES / f"{method}.toml"
    output = f"runs/methods/{method}"
    if not path.exists():
        settings = {**COMMON, **METHODS[method], "method": method, "output": output}
        config = TrainConfig(**settings)
        n_steps, n_examples = fit_budget(config)
        settings["epochs"] = round(n_steps * config.batch_size / n_examples, 3)
        settings["eval_every"] = -(-n_steps // 2)
        head = (
            f"# {method}: what fits 20 minutes of two cores. Made by recipes/methods.py.\n#\n"
            f"#     promptdetox train --recipe recipes/methods/{method}.toml\n"
        )
        path.parent.mkdir(exist_ok=True)
        path.write_text(head + tomli_w.dumps(settings), "utf-8")
    return load_recipe(path)


def fit_budget(config: TrainConfig) -> tuple[int, int]:
    """Return (steps that fit the budget, examples), timed on batches of this data."""
    from transformers import TrainerCallback

    from promptdetox.train import attach_method, build_trainer

    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.process_time())

    with tempfile.TemporaryDirectory() as folder:
        config = replace(config, output=folder, dev=None, eval_every=10**6)
        objective = registry.resolve("objective", "rewriting")(config)
        n_examples = len(objective.examples.examples)
        # Batches are shuffled, so the first ones are like all.
        short = replace(config, epochs=N_PROBE * config.batch_size / n_examples)
        trainer = build_trainer(short, objective, attach_method(config, objective))
        trainer.add_callback(Clock())
        trainer.train()
    # The first step allocates; the end of the last is before the last checkpoint.
    return round(BUDGET_S * (len(ends) - 1) / (ends[-1] - ends[0])), n_examples


def make_row(method: str) -> dict[str, Any]:
    """Train a method and return its row."""
    from promptdetox.train import train

    config = recipe_of(method)
    begun = time.process_time()
    output = train(config, is_resumed=True)
    cpu_s = time.process_time() - begun
    learnt = json.loads((output / "promptdetox.json").read_text("utf-8"))
    log = json.loads((output / "log.json").read_text("utf-8"))
    n_tokens, n_steps = count_tokens(config)
    defaults = {field.name: field.default for field in fields(TrainConfig)}
    return {
        "trained": learnt["parameters"]["trained"],
        "share": round(learnt["parameters"]["trained"] / learnt["parameters"]["all"], 5),
        "bytes": (output / "adapter_model.safetensors").stat().st_size,
        "steps": n_steps,
        "tokens": n_tokens,
        # Of both cores, with loading and validation, where it was not interrupted.
        "cpu_minutes": round(cpu_s / 60, 1),
        # Of the budget, which is what the steps were measured to take on two cores.
        "tokens_per_s": round(n_tokens / (BUDGET_S / 2), 1),
        "step": next(e["step"] for e in log if e.get("eval_score") == learnt["figures"]["score"]),
        **{name: round(learnt["figures"][name], 4) for name in ("chrf", "neutral", "copies")},
        "still_toxic": round(1 - learnt["figures"]["neutral"], 4),
        "settings": {k: v for k, v in METHODS[method].items() if v != defaults[k]},
    }


def count_tokens(config: TrainConfig) -> tuple[int, int]:
    """Return (tokens of prompts and targets, steps) of a run."""
    from promptdetox.training.batches import plan_batches

    objective = registry.resolve("objective", "rewriting")(replace(config, dev=None))
    lengths = [len(example) for example in objective.examples.examples]
    plan = plan_batches(
        lengths, batch_size=config.batch_size, n_epochs=config.epochs, seed=config.seed
    )
    return sum(lengths[index] for batch in plan for index in batch), len(plan)


def read_table() -> dict[str, Any]:
    """Return the table as it is."""
    return json.loads(TABLE.read_text("utf-8")) if TABLE.exists() else {"rows": {}}


def plot(table: dict[str, Any]) -> None:
    """Write results/methods.svg: what each method costs in parameters, and what it gives."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "methods"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for name, row in table["rows"].items():
        score = row["chrf"] * row["neutral"]
        axes.scatter(row["share"] * 100, score, s=40)
        axes.annotate(name, (row["share"] * 100, score), xytext=(6, 4), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_xlabel("trained parameters, % of the model")
    axes.set_ylabel("chrF x share without a listed word, ParaDetox dev")
    axes.set_title("SmolLM2-135M-Instruct, 20 minutes of two cores each")
    axes.grid(alpha=0.3)
    figure.savefig(ROOT / "results" / "methods.svg", metadata={"Date": None})


def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", nargs="*", choices=[*METHODS, []], help="default: all")
    parser.add_argument("--plot", action="store_true", help="only draw results/methods.svg")
    args = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.INFO)
    table = read_table()
    for method in () if args.plot else args.method or METHODS:
        if method in table["rows"]:
            continue
        row = {**make_row(method), "machine": machine()}
        table = read_table()
        table["rows"][method] = row
        table = {
            "command": "python recipes/methods.py",
            "data": f"{DATA.name}/train, validated on {DATA.name}/dev, greedy, float32",
            "budget": "20 minutes of two cores a method, validation not counted",
            "rows": {name: table["rows"][name] for name in METHODS if name in table["rows"]},
        }
        TABLE.write_text(json.dumps(table, indent=1) + "\n", "utf-8")
        print(method, row, flush=True)
    if args.plot:
        plot(table)


if __name__ == "__main__":
    main()
