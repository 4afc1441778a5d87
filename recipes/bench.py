"""Every number of the README, made here: `make bench` runs all parts, or name some.

    python recipes/bench.py                      # all, about half an hour on two cores
    python recipes/bench.py startup memory       # some
    python recipes/bench.py --quick throughput   # a tenth of the texts, to see that it works

Each part writes results/<part>.json: figures only, with the commit, the machine and the baseline of
the same run.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "paradetox"
MODEL = "smollm2-135m-instruct"
SOFT_PROMPT = "detox-smollm2-prompt.v1"
TEMPLATES = ("rewrite-chat.v1", "rewrite-plain.v1", "rewrite-chat-few.v1", "rewrite-plain-few.v1")
MAX_NEW_TOKENS = 64


def read_rows(split: str, share: int) -> list[dict[str, Any]]:
    """Return every share-th row of a split of ParaDetox."""
    with (DATA / f"{split}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file][::share]


def machine() -> dict[str, Any]:
    """Return what the figures were made on."""
    from promptdetox.engines.ctranslate2 import n_cores

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")
    names = ("promptdetox", "ctranslate2", "transformers", "torch", "sacrebleu")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return {
        "commit": commit,
        "cpu": cpu,
        "cores": n_cores(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in names},
    }


def build_prompts(template: str, texts: Sequence[str], engine: Any) -> list[Any]:
    """Return the prompts that the product would build for texts."""
    from promptdetox.prompts.builder import PromptBuilder
    from promptdetox.prompts.template import load_template

    builder = PromptBuilder(
        load_template(template),
        chat_template=engine.chat_template,
        special_tokens=engine.special_tokens,
        count_tokens=engine.count_tokens,
        max_tokens=engine.max_length - MAX_NEW_TOKENS,
    )
    return [builder.build(text) for text in texts]


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds a call took, and its result."""
    begun = time.perf_counter()
    result = function()
    return time.perf_counter() - begun, result


def bench_throughput(share: int) -> dict[str, Any]:
    """Texts a second on ParaDetox test: ours against the plain transformers pipeline.

    Same model (the same GGUF file, float32 for transformers), same prompt (zero-shot, default
    wording), greedy, at most 64 new tokens for both. The pipeline one by one runs on every 24th
    text (it would take half an hour on all), its best batch on all.
    """
    import torch
    import transformers

    from promptdetox.engines.ctranslate2 import CTranslate2Generator, n_cores
    from promptdetox.models.catalog import find_model
    from promptdetox.types import Decoding

    transformers.logging.set_verbosity_error()
    texts = [row["text"] for row in read_rows("test", share)]
    engine = CTranslate2Generator.load(MODEL)
    prompts = build_prompts("rewrite-chat.v1", texts, engine)
    source = find_model(MODEL).path
    tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    tokenizer.padding_side = "left"
    network = transformers.AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32
    )
    pipe = transformers.pipeline("text-generation", model=network, tokenizer=tokenizer)
    strings = [prompt.text for prompt in prompts]

    def run_pipeline(which: Sequence[str], batch_size: int) -> int:
        # CTranslate2 tells OpenMP to use one thread, for the whole process: take that back.
        torch.set_num_threads(n_cores())
        outputs = pipe(
            list(which),
            batch_size=batch_size,
            max_new_tokens=MAX_NEW_TOKENS,
            do_sample=False,
            return_full_text=False,
            add_special_tokens=False,
        )
        return sum(len(tokenizer.encode(o[0]["generated_text"])) for o in outputs)

    decoding = [Decoding(max_new_tokens=MAX_NEW_TOKENS)] * len(prompts)

    def run_ours() -> int:
        return sum(found[0].n_tokens for found in engine.generate(prompts, decoding=decoding))

    def run_ours_one_by_one() -> int:
        singles = (
            next(engine.generate([prompt], decoding=decoding[:1])) for prompt in prompts[::24]
        )
        return sum(found[0].n_tokens for found in singles)

    run_pipeline(strings[:2], 1)
    trial = strings[:: max(len(strings) // 48, 1)]
    trials = {size: timed(lambda s=size: run_pipeline(trial, s))[0] for size in (16, 48)}
    best = min(trials, key=lambda size: trials[size])
    single = strings[::24]
    systems: dict[str, tuple[int, Callable[[], int]]] = {
        "transformers one by one": (len(single), lambda: run_pipeline(single, 1)),
        "promptdetox one by one": (len(single), run_ours_one_by_one),
        f"transformers, batch {best}": (len(strings), lambda: run_pipeline(strings, best)),
        "promptdetox": (len(strings), run_ours),
    }
    # In turn, so that a slow minute of the machine hits all.
    runs = [{name: timed(run) for name, (_, run) in systems.items()} for _ in range(3)]
    figures: dict[str, Any] = {}
    for name, (n, _) in systems.items():
        seconds = sorted(run[name][0] for run in runs)
        figures[name] = {
            "texts": n,
            "seconds": [round(value, 2) for value in seconds],
            "texts_per_s": round(n / seconds[1], 2),
            "tokens_per_s": round(runs[0][name][1] / seconds[1], 1),
        }
        print(name, figures[name], flush=True)
    ours = figures["promptdetox"]["texts_per_s"]
    one, batch = figures["transformers one by one"], figures[f"transformers, batch {best}"]
    return {
        "data": "paradetox/test",
        "detector": "none",
        "template": "rewrite-chat.v1",
        "compute_type": {"promptdetox": "int8", "transformers": "float32"},
        "max_new_tokens": MAX_NEW_TOKENS,
        "runs": len(runs),
        "pipeline_batches_tried": {str(k): round(len(trial) / v, 2) for k, v in trials.items()},
        "systems": figures,
        "ratio_to_one_by_one": round(ours / one["texts_per_s"], 1),
        "ratio_to_best_batch": round(ours / batch["texts_per_s"], 1),
    }


# A process's peak is at least that of the process it was forked from, so a small one starts it.
MEASURE = """
import os, sys, time
null = os.open(os.devnull, os.O_RDWR)
begun = time.perf_counter()
files = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1)]
run = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=files)
_, status, usage = os.wait4(run, 0)
seconds = time.perf_counter() - begun
print(os.waitstatus_to_exitcode(status), seconds, usage.ru_maxrss / 1024)
"""


def measure(command: Sequence[str]) -> tuple[float, float]:
    """Return (seconds, peak MiB) of a process."""
    run = [sys.executable, "-c", MEASURE, *command]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    code, seconds, peak = map(float, done.stdout.split())
    if code:
        raise SystemExit(f"{command} ended with {code}: {done.stderr}")
    return seconds, peak


def bench_startup(share: int) -> dict[str, Any]:
    """Seconds from start to end of whole processes; medians of 9 after one warm-up."""
    commands = {
        "python -c pass": ["-c", "pass"],
        "import promptdetox": ["-c", "import promptdetox"],
        "promptdetox --help": ["-m", "promptdetox", "--help"],
        "promptdetox rewrite 'Shut up, you idiot.'": [
            *("-m", "promptdetox", "rewrite", "Shut up, you idiot.")
        ],
    }
    result = {}
    for name, arguments in commands.items():
        command = [sys.executable, *arguments]
        measure(command)
        seconds = [measure(command)[0] for _ in range(9)]
        result[name] = {
            "median_s": round(statistics.median(seconds), 3),
            "min_s": round(min(seconds), 3),
            "max_s": round(max(seconds), 3),
        }
        print(name, result[name], flush=True)
    return {"runs": 9, "commands": result}


def bench_memory(share: int) -> dict[str, Any]:
    """Peak memory: the default rewrite of ParaDetox test, and files of 10^5 and 10^6 lines."""
    program = [sys.executable, "-m", "promptdetox", "rewrite"]
    peak = measure([*program, str(DATA / "test.jsonl")])[1]
    fake = {}
    with tempfile.TemporaryDirectory() as folder:
        for n in (100_000, 1_000_000):
            path = Path(folder, "lines.txt")
            with path.open("w") as file:
                for index in range(n):
                    file.write(f"line {index} says {'you idiot' if index % 5 == 0 else 'hello'}\n")
            seconds, mebibytes = measure([*program, "--engine", "fake", str(path)])
            fake[str(n)] = {"peak_mib": round(mebibytes, 1), "lines_per_s": round(n / seconds)}
            print(n, fake[str(n)], flush=True)
    return {"default_peak_mib": round(peak, 1), "fake_engine_lines": fake}


def bench_parity(share: int) -> dict[str, Any]:
    """Greedy tokens of the float32 build against transformers float32.

    200 prompts of the base model, and 200 of a soft prompt, which is rows of the vocabulary in the
    build and embeddings in transformers.
    """
    from promptdetox.engines.ctranslate2 import CTranslate2Generator
    from promptdetox.engines.transformers import TransformersGenerator
    from promptdetox.types import Decoding

    rows = [row["text"] for row in read_rows("dev", 1)]
    result = {}
    for model, template, n in (
        (MODEL, "rewrite-chat.v1", 100),
        (MODEL, "rewrite-plain-few.v1", 100),
        (SOFT_PROMPT, "rewrite-tuned.v1", 200),
    ):
        texts = rows[: n // share]
        ours = CTranslate2Generator.load(model, compute_type="float32")
        reference = TransformersGenerator.load(model)
        prompts = build_prompts(template, texts, ours)
        decoding = [Decoding(max_new_tokens=32)] * len(prompts)
        mine = [found[0].tokens for found in ours.generate(prompts, decoding=decoding)]
        theirs = [found[0].tokens for found in reference.generate(prompts, decoding=decoding)]
        same = sum(a == b for a, b in zip(mine, theirs, strict=True))
        same_ids = all(ours.token_ids(p) == reference.token_ids(p) for p in prompts)
        result[template] = {
            "model": model,
            "prompts": len(prompts),
            "prompt_tokens_equal": same_ids,
            "answers_equal": same,
            "tokens": sum(map(len, theirs)),
        }
        print(template, result[template], flush=True)
    return {"data": "paradetox/dev", "max_new_tokens": 32, "templates": result}


def bench_int8(share: int) -> dict[str, Any]:
    """What int8 costs on ParaDetox dev, beside float32, without a detector."""
    from promptdetox.rewrite import Detoxifier
    from promptdetox.scorers.chrf import ChrF
    from promptdetox.scorers.lexicon_neutral import LexiconNeutral

    rows = read_rows("dev", share)
    texts, references = [r["text"] for r in rows], [r["targets"] for r in rows]
    result = {}
    variants: dict[str, dict[str, Any]] = {
        "default settings": {},
        **{name: {"model": MODEL, "template": name} for name in TEMPLATES if "chat" in name},
    }
    for name, settings in variants.items():
        figures: dict[str, Any] = {}
        outputs = {}
        for compute_type in ("float32", "int8"):
            detoxifier = Detoxifier.from_pretrained(
                detector="none", compute_type=compute_type, **settings
            )
            outputs[compute_type] = [r.output for r in detoxifier.detox(texts)]
            found = outputs[compute_type]
            chrf = [s.value for s in ChrF().score(texts, found, references)]
            neutral = [s.value for s in LexiconNeutral().score(texts, found)]
            figures[compute_type] = {
                "chrf": round(statistics.mean(v for v in chrf if v is not None), 4),
                "still_toxic": round(1 - statistics.mean(v for v in neutral if v is not None), 4),
            }
        pairs = list(zip(*outputs.values(), strict=True))
        figures["equal_outputs"] = round(sum(a == b for a, b in pairs) / len(pairs), 4)
        result[name] = figures
        print(name, figures, flush=True)
    return {"data": "paradetox/dev", "n": len(rows), "systems": result}


def bench_prompting(share: int) -> dict[str, Any]:
    """The honest baseline: copy, deletion, zero-shot and few-shot on ParaDetox dev."""
    from promptdetox import registry
    from promptdetox.evaluate import evaluate_systems, format_table
    from promptdetox.rewrite import Detoxifier
    from promptdetox.tasks import load_task

    rows = read_rows("dev", share)
    texts, references = [r["text"] for r in rows], [r["targets"] for r in rows]
    systems = {n: registry.resolve("baseline", n)(texts) for n in ("copy", "deletion")}
    train = str(DATA / "train.jsonl")
    nearest = {"demonstrations": train, "n_demonstrations": 4}
    variants: dict[str, dict[str, Any]] = {
        name: {"model": MODEL, "template": name} for name in TEMPLATES
    }
    for name in ("rewrite-chat.v1", "rewrite-plain.v1"):
        variants[f"{name} + 4 nearest of train"] = {**variants[name], **nearest}
    variants["default settings, without detector"] = {}
    for name, settings in variants.items():
        detoxifier = Detoxifier.from_pretrained(detector="none", **settings)
        systems[name] = [r.output for r in detoxifier.detox(texts)]
    results = Detoxifier.from_pretrained().detox(texts)
    systems["default settings, with detector"] = [r.output for r in results]
    statuses = dict(Counter(r.status for r in results))
    scorers = [registry.resolve("scorer", name)() for name in load_task("rewrite").scorers]
    evaluation = evaluate_systems(texts, references, systems, scorers=scorers)
    print(format_table(evaluation), flush=True)
    return {"data": "paradetox/dev", "statuses_with_detector": statuses, **evaluation.to_dict()}


JUDGE = """
import sys, json
from profanity_check import predict_prob
print(json.dumps(predict_prob(json.load(sys.stdin)).tolist()))
"""


def judge(outputs: Sequence[str]) -> list[float]:
    """Return how toxic alt-profanity-check finds texts. Range: 0..1, lower is better.

    It chose nothing here. It unpickles its own model, so it has an environment of its own.
    """
    folder = ROOT / ".venv-judge"
    if not folder.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "alt-profanity-check==1.9.1"]
        subprocess.run(pip, check=True)
    command = [str(folder / "bin" / "python"), "-c", JUDGE]
    done = subprocess.run(
        command, input=json.dumps(list(outputs)), capture_output=True, text=True, check=True
    )
    found: list[float] = json.loads(done.stdout)
    return found


def bench_rewriting(share: int) -> dict[str, Any]:
    """The figures that are reported: ParaDetox test, greedy, one candidate, no detector.

    Run once for a model that was chosen on dev. A person is the first reference against the
    others, where there are others.
    """
    from promptdetox import registry
    from promptdetox.rewrite import Detoxifier
    from promptdetox.scorers.chrf import ChrF

    rows = read_rows("test", share)
    texts, references = [r["text"] for r in rows], [r["targets"] for r in rows]
    systems: dict[str, Sequence[str]] = {
        n: registry.resolve("baseline", n)(texts) for n in ("copy", "deletion")
    }
    variants: dict[str, dict[str, Any]] = {
        "zero-shot": {"model": MODEL, "template": "rewrite-chat.v1"},
        "few-shot": {"model": MODEL, "template": "rewrite-chat-few.v1"},
        "soft prompt": {"model": SOFT_PROMPT},
        "default": {},
    }
    for name, settings in variants.items():
        detoxifier = Detoxifier.from_pretrained(detector="none", **settings)
        systems[name] = [r.output for r in detoxifier.detox(texts)]
    several = [r for r in rows if len(r["targets"]) > 1]
    trials = {name: (texts, found, references) for name, found in systems.items()}
    trials["a person"] = (
        [r["text"] for r in several],
        [r["targets"][0] for r in several],
        [r["targets"][1:] for r in several],
    )
    result = {}
    for name, (inputs, outputs, known) in trials.items():
        chrf = [s.value for s in ChrF().score(inputs, outputs, known) if s.value is not None]
        toxic = judge(outputs)
        copies = sum(a.strip() == b.strip() for a, b in zip(inputs, outputs, strict=True))
        result[name] = {
            "n": len(inputs),
            "chrf": round(statistics.mean(chrf), 4),
            "still_toxic": round(sum(p >= 0.5 for p in toxic) / len(toxic), 4),
            "copies": round(copies / len(inputs), 4),
        }
        print(name, result[name], flush=True)
    return {
        "data": "paradetox/test",
        "signatures": [ChrF().signature, "alt-profanity-check 1.9.1, P >= .5"],
        "systems": result,
    }


def bench_training(share: int) -> dict[str, Any]:
    """Tokens a second of LoRA training: ours against a plain peft + Trainer script.

    Same model, pairs, rank, batch size and steps; both count the tokens of prompts and targets,
    padding left out. The plain script pads shuffled batches to their longest and computes all
    logits, as the examples of peft do.
    """
    import torch
    import transformers
    from transformers import Trainer, TrainingArguments

    from promptdetox.config import TrainConfig
    from promptdetox.engines.ctranslate2 import n_cores
    from promptdetox.objectives.rewriting import Rewriting
    from promptdetox.train import attach_method, build_trainer
    from promptdetox.training.objective import IGNORED

    transformers.logging.set_verbosity_error()
    n_steps = max(40 // share, 2)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            data=str(DATA / "train.jsonl"), output=folder, model=MODEL, eval_every=10_000
        )
        wanted = Rewriting(config).examples.examples[: n_steps * config.batch_size]

        def load() -> Rewriting:
            objective = Rewriting(config)
            objective.examples.examples = list(wanted)
            torch.set_num_threads(n_cores())
            return objective

        def run_plain() -> float:
            objective = load()

            def collate(batch: Sequence[Any]) -> dict[str, Any]:
                width = max(len(e) for e in batch)
                pad = [[objective.end_id] * (width - len(e)) for e in batch]
                pairs = list(zip(batch, pad, strict=True))
                ids = [[*e.prompt, *e.target, *fill] for e, fill in pairs]
                mask = [[1] * len(e) + [0] * len(fill) for e, fill in pairs]
                labels = [
                    [IGNORED] * len(e.prompt) + [*e.target] + [IGNORED] * len(fill)
                    for e, fill in pairs
                ]
                names = ("input_ids", "attention_mask", "labels")
                return dict(zip(names, map(torch.tensor, (ids, mask, labels)), strict=True))

            settings = TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=config.batch_size,
                num_train_epochs=1,
                learning_rate=config.learning_rate,
                save_strategy="no",
                report_to=[],
                remove_unused_columns=False,
                use_cpu=True,
                disable_tqdm=True,
                dataloader_pin_memory=False,
            )
            network = attach_method(config, objective)
            return time_of(
                Trainer(model=network, args=settings, train_dataset=wanted, data_collator=collate)
            )

        def run_ours() -> float:
            objective = load()
            return time_of(build_trainer(config, objective, attach_method(config, objective)))

        def time_of(trainer: Any) -> float:
            begun = time.perf_counter()
            trainer.train()
            return time.perf_counter() - begun

        seconds: dict[str, list[float]] = {"plain": [], "promptdetox": []}
        for _ in range(3):
            seconds["plain"].append(run_plain())
            seconds["promptdetox"].append(run_ours())
    n_tokens = sum(map(len, wanted))
    systems = {
        name: {
            "seconds": [round(value, 2) for value in sorted(values)],
            "tokens_per_s": round(n_tokens / statistics.median(values), 1),
        }
        for name, values in seconds.items()
    }
    ratio = statistics.median(seconds["plain"]) / statistics.median(seconds["promptdetox"])
    result = {"steps": n_steps, "tokens": n_tokens, "systems": systems, "ratio": round(ratio, 2)}
    print(result, flush=True)
    return {"data": "paradetox/train", "method": "lora, rank 16", "batch_size": 32, **result}


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "startup": bench_startup,
    "memory": bench_memory,
    "prompting": bench_prompting,
    "int8": bench_int8,
    "throughput": bench_throughput,
    "parity": bench_parity,
    "training": bench_training,
    "rewriting": bench_rewriting,
}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the texts; nothing is written"
    )
    args = parser.parse_args()
    for name in args.part or PARTS:
        print(f"== {name}", flush=True)
        figures = PARTS[name](10 if args.quick else 1)
        if not args.quick:
            result = {"command": f"python recipes/bench.py {name}", **machine(), **figures}
            path = ROOT / "results" / f"{name}.json"
            path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
