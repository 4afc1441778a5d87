"""Any bytes as settings, template, word list, weights: something to use, or one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptdetox.config import RewriteConfig, load_config
from promptdetox.models.build import build_model
from promptdetox.models.catalog import find_model
from promptdetox.models.gguf_file import read_gguf
from promptdetox.models.safetensors_file import read_safetensors
from promptdetox.prompts.builder import PromptBuilder
from promptdetox.prompts.template import Template, parse_template
from promptdetox.spans.lexicon import load_lexicon

from .damage import HOSTILE, HOSTILE_TEXT, damaged, exhaust, survive
from .scale import fuzz

JUNK = st.one_of(
    st.sampled_from([b"[" * 2000, b"{a=" * 2000, b"9" * 5000, b"1979-13-41", b"nan", b"-0x1"]),
    st.sampled_from([b"\x00", b"\xff", b"\xed\xa0\x80", b"\\u0000", b"\\ud800"]),
    st.sampled_from([b'"', b"'''", b"\n", b"=", b"[[a]]\n", b"#"]),
)
TOML_VALUES = st.one_of(
    st.sampled_from(["1", "-1", "99999999999999999999", "1.5", "nan", "true", "1979-05-27"]),
    st.sampled_from(["{}", "[]", "[1]", '["\\n"]', '["{text}"]', '[{text = "a"}]']),
    st.sampled_from(
        ['[{text = 1, target = "b"}]', '[{text = "a", target = "b\\n"}]', '[{a = "b"}]', "[[]]"]
    ),
    st.sampled_from(['"x"', '"{text}"', '"{text}\\n"', '"chat"', '"plain"', '"float32"', '"none"']),
    st.sampled_from(['"\\u0000"', '"\\ue0b0x\\ue0b1 {text}\\n"', '"\\ue0b00\\ue0b1 {text}\\n"']),
    st.integers().map(str),
    st.sampled_from(["[" * 2000, "{a=" * 2000, "9" * 5000]),
)


def _toml(start: dict[str, str], keys: list[str]) -> st.SearchStrategy[bytes]:
    """Return TOML that begins as it should and has some other keys or values."""
    changes = st.dictionaries(st.sampled_from([*keys, "other"]), TOML_VALUES, max_size=3)
    return changes.map(
        lambda new: "".join(
            f"{key} = {value}\n" for key, value in {**start, **new}.items()
        ).encode()
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all examples share."""
    return tmp_path_factory.mktemp("fuzz")


SETTINGS = b'# mine\nengine = "fake"\nthreads = 2\nn_candidates = 3\non_failure = "abstain"\n'
FIELDS = list(RewriteConfig.__dataclass_fields__)


@given(content=st.one_of(st.binary(), _toml({}, FIELDS), damaged(SETTINGS, inserts=JUNK)))
@fuzz(1000)
def test_any_settings(folder: Path, content: bytes) -> None:
    """Any bytes as settings are settings, or one sentence."""
    path = folder / "settings.toml"
    path.write_bytes(content)
    survive(lambda: load_config(path).digest)


TEMPLATE = (
    b'kind = "plain"\nheader = "Be kind.\\n"\nquery = "In: {text}\\nOut:"\nstop = ["\\n"]\n'
    b'[[demonstrations]]\ntext = "bad"\ntarget = "good"\n'
)
KEYS = ["kind", "system", "user", "header", "query", "stop", "demonstrations"]
CHAT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"


@given(
    content=st.one_of(
        st.binary(),
        _toml({"kind": '"plain"', "query": '"{text}\\n"', "stop": '["\\n"]'}, KEYS),
        damaged(TEMPLATE, inserts=JUNK),
    ),
    text=HOSTILE_TEXT,
)
@fuzz(1000)
def test_any_template(content: bytes, text: str) -> None:
    """Any bytes as a template make prompts, or one sentence."""
    survive(lambda: _build(parse_template("mine.toml", content), text))


def _build(template: Template, text: str) -> None:
    builder = PromptBuilder(
        template,
        chat_template=CHAT,
        special_tokens={},
        count_tokens=lambda prompt: len(prompt.text),
        max_tokens=100_000,
    )
    prompt = builder.build(text)
    assert [s.is_user for s in prompt.segments].count(True) == 2 * len(template.demonstrations) + 1
    assert all(isinstance(stop, str) for stop in prompt.stop)


@given(source=st.one_of(st.text(), st.lists(st.sampled_from([*HOSTILE, CHAT])).map("".join)))
@fuzz(600)
def test_any_chat_template(source: str) -> None:
    """Any text as a model's chat template makes prompts, or one sentence."""
    template = parse_template("mine.toml", b'kind = "chat"\nuser = "{text}"\n')

    def build() -> None:
        builder = PromptBuilder(
            template,
            chat_template=source,
            special_tokens={},
            count_tokens=lambda prompt: len(prompt.text),
            max_tokens=100_000,
        )
        users = [s.text for s in builder.build("hello").segments if s.is_user]
        assert users == ["hello"]

    survive(build)


LISTS = {
    ".txt": "# mine\nidiot\nshut up\n\N{PILE OF POO}\n".encode(),
    ".tsv": b"term\tscore\tcategory\nidiot\t.9\tinsult\n# more\nshut up\t1\n",
    ".csv": b'term,score,category\nidiot,.9,insult\n"shut up, you",1\n',
    ".json": b'["idiot", {"term": "shut up"}, {"match": "moron|fool"}]',
}


@pytest.mark.parametrize("ending", LISTS)
@given(data=st.data(), text=HOSTILE_TEXT)
@fuzz(400)
def test_any_word_list(ending: str, folder: Path, data: st.DataObject, text: str) -> None:
    """Any bytes as a word list find spans that lie in the text, or are one sentence."""
    content = data.draw(st.one_of(st.binary(), damaged(LISTS[ending], inserts=JUNK)))
    if data.draw(st.integers(0, 19)) == 0:
        content += b'\n"' + b"long " * 40_000  # beyond the csv module's own limit
    path = folder / f"words{ending}"
    path.write_bytes(content)

    def tag() -> None:
        (spans,) = load_lexicon(path).tag([f"{text} idiot! shut up"])
        at = 0
        for span in spans:
            assert at <= span.start < span.end
            at = span.end

    survive(tag, str(path))


def _safetensors(path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "model.norm.weight": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
        "a": {"dtype": "F32", "shape": [6], "data_offsets": [12, 36]},
        "b": {"dtype": "F16", "shape": [3, 2], "data_offsets": [36, 48]},
    }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(range(48)))


def _gguf(path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_embedding_length(4)
    writer.add_feed_forward_length(8)
    writer.add_block_count(1)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_context_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    tokens = ["<|end|>", "a", "b", "ab"]
    writer.add_token_list(tokens)
    writer.add_token_types([3, 1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_chat_template("{{ messages[0].content }}")
    shapes = {
        "token_embd": (4, 4),
        "output_norm": (4,),
        "blk.0.attn_norm": (4,),
        "blk.0.attn_q": (4, 4),
        "blk.0.attn_k": (2, 4),
        "blk.0.ffn_down": (4, 32),
    }
    for name, shape in shapes.items():
        array = np.ones(shape, np.float32)
        kind = None
        if name.endswith("down"):
            kind = gguf.GGMLQuantizationType.Q4_1
            array = gguf.quantize(array, kind)
        writer.add_tensor(f"{name}.weight", array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


WEIGHTS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "model.safetensors": (_safetensors, lambda path: read_safetensors(path)),
    "model.gguf": (_gguf, lambda path: read_gguf(path).tensors),
}


@pytest.fixture(scope="module", params=WEIGHTS)
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file of weights that is as it should be."""
    path: Path = tmp_path_factory.mktemp("weights") / request.param
    WEIGHTS[request.param][0](path)
    exhaust(WEIGHTS[request.param][1](path).values())
    return path


@given(data=st.data())
@fuzz(1000)
def test_damaged_weights(weights: Path, folder: Path, data: st.DataObject) -> None:
    """Weights that are cut short or have flipped bits are read, or are one sentence."""
    inserts = st.binary(min_size=1, max_size=9)
    path = folder / weights.name
    path.write_bytes(data.draw(damaged(weights.read_bytes(), inserts=inserts)))
    survive(lambda: exhaust(WEIGHTS[weights.name][1](path).values()), str(path))


def test_a_length_beyond_the_file(folder: Path) -> None:
    """A GGUF list that claims more numbers than the file has is refused, not counted through."""
    path = folder / "long.gguf"
    _gguf(path)
    content = bytearray(path.read_bytes())
    key = b"tokenizer.ggml.token_type"
    at = content.index(key) + len(key) + 8  # its type and that of its items
    content[at : at + 8] = (3_000_000).to_bytes(8, "little")
    # The last number must end with the file, or numpy refuses it already.
    path.write_bytes(content + b"\x00" * (-(len(content) - at) % 4))
    assert survive(lambda: read_gguf(path), str(path), "it ends too early") is not None


@given(data=st.data())
@fuzz(60)
def test_damaged_model_folder(tiny_llama: Path, folder: Path, data: st.DataObject) -> None:
    """A model folder with a wrong value or damaged text is built, or is one sentence."""
    copy = folder / "model"
    if not copy.exists():
        shutil.copytree(tiny_llama, copy)
    name = data.draw(
        st.sampled_from(
            ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
        )
    )
    path = copy / name
    before = path.read_bytes()
    if name == "config.json" and data.draw(st.booleans()):
        config = json.loads(before)
        key = data.draw(st.sampled_from(sorted(config)))
        values = [None, "x", "", -1, 0, 3, 1.5, True, [], [1], {}, {"a": 1}]
        content = json.dumps({**config, key: data.draw(st.sampled_from(values))}).encode()
    else:
        content = data.draw(damaged(before, inserts=JUNK))
    path.write_bytes(content)
    try:
        survive(lambda: build_model(find_model(str(copy)), cache=folder / "cache"))
    finally:
        path.write_bytes(before)
