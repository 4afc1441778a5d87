"""Fixtures that all tests share: small models made here, and where the data lies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from promptdetox.models.tokenizer import PromptTokenizer

# The tests run outside the clone, on the built wheel; the data lies beside the clone.
ROOT = Path(os.environ.get("PROMPTDETOX_ROOT", Path(__file__).resolve().parents[1]))
DATA = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, and so count, what needs data or weights that are not here."""
    from promptdetox.models.catalog import read_catalog

    has_weights = all(model.locate() for model in read_catalog().values())
    for item in items:
        if item.get_closest_marker("data") and not DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason="../shared/data is not here"))
        if item.get_closest_marker("model") and not has_weights:
            item.add_marker(pytest.mark.skip(reason="run `promptdetox setup` first"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of public data."""
    return DATA


@pytest.fixture(scope="session")
def root() -> Path:
    """The clone."""
    return ROOT


def make_tokenizer(*, chat: bool = True) -> Any:
    """Return a byte-level tokenizer with three control tokens, made from nothing."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>", "<|start|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(["the quick brown fox jumps over the lazy dog"] * 8, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|start|>", eos_token="<|end|>", pad_token="<|pad|>"
    )
    if chat:
        fast.chat_template = (
            "{% for m in messages %}{{ '<|start|>' + m['role'] + '\n' + m['content'] + '<|end|>' }}"
            "{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
        )
    return fast


@pytest.fixture(scope="session")
def plain_tokenizer() -> PromptTokenizer:
    """A byte-level tokenizer; token 0 ends an answer."""
    return PromptTokenizer(make_tokenizer(chat=False).backend_tokenizer.to_str())


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a seeded Llama of two layers, grouped heads and untied head."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=0,
        tie_word_embeddings=False,
        initializer_range=0.4,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a seeded GPT-2 of two layers."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("tiny-gpt2")
    tokenizer = make_tokenizer(chat=False)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=256,
        bos_token_id=1,
        eos_token_id=0,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a seeded BERT of two layers."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny-bert")
    tokenizer = make_tokenizer(chat=False)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a seeded sequence-to-sequence model."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("tiny-t5")
    tokenizer = make_tokenizer(chat=False)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=2,
        eos_token_id=0,
        pad_token_id=2,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a seeded BART, whose encoder has an embedding layer of its own."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    folder = tmp_path_factory.mktemp("tiny-bart")
    tokenizer = make_tokenizer(chat=False)
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=0,
        pad_token_id=2,
        decoder_start_token_id=0,
        forced_eos_token_id=0,
    )
    BartForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def recipe(tiny_llama: Path, tmp_path: Path) -> dict[str, Any]:
    """Settings of a run of six steps."""
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"text": f"you idiot {i}", "target": f"you person {i}"} for i in range(24)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "model": str(tiny_llama),
        "data": str(pairs),
        "output": str(tmp_path / "out"),
        "batch_size": 4,
        "rank": 4,
        "learning_rate": 1e-2,
    }


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSONL file."""
    return [json.loads(line) for line in path.open(encoding="utf-8")]
