"""Every file is named once, every name resolves and fits its Protocol."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

import pytest

import promptdetox
from promptdetox import registry
from promptdetox.config import RewriteConfig
from promptdetox.errors import ConfigError
from promptdetox.models.catalog import read_catalog, shipped_models
from promptdetox.models.listing import describe_models
from promptdetox.prompts.template import load_template
from promptdetox.tasks import load_task

PACKAGE = Path(promptdetox.__file__).parent
ENTRIES = [(kind, name) for kind, names in registry.REGISTRY.items() for name in names]
METHODS = {
    "generator": {
        "load",
        "digest",
        "max_length",
        "chat_template",
        "count_tokens",
        "generate",
        "score",
    },
    "encoder": {"load", "digest", "encode"},
    "method": {"name", "check", "attach", "save", "load"},
    "augmentation": {"name", "apply", "is_local"},
    "scorer": {"name", "higher_is_better", "needs_references", "signature", "score"},
}
FOLDERS = {
    "scorers": ("scorer", {"rows"}),
    "spans": ("tagger", {"learnt", "words"}),
    "engines": ("generator", {"answers", "encoding", "learnt"}),
    "augment": ("augmentation", {"asking", "context", "words"}),
    "methods": ("method", {"layers", "own_adapter", "peft_adapter"}),
}

# A released template is never edited: a change is a new version with a new row here.
TEMPLATES = {
    "rewrite-chat.v1": "238a589958579e02",
    "rewrite-chat-few.v1": "7620ffac2600f0c6",
    "rewrite-plain.v1": "8393ffb7956493fb",
    "rewrite-plain-few.v1": "72d4d8106a4a6c76",
    "rewrite-tuned.v1": "0eab34e913ccdd98",
    "rewrite-marked.v1": "90d89850fbe24a4b",
    "tag-plain.v1": "f720f2bfab3da147",
    "tag-plain-few.v1": "ad0667f1077fd1fe",
    "paraphrase-plain.v1": "4ed97f5606a968b1",
    "synonyms-plain.v1": "7fb212b87fd290a8",
}


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_name_resolves(kind: str, name: str) -> None:
    """A registered name leads to something that exists."""
    if kind == "template":
        assert load_template(name).name == name
    elif kind == "task":
        assert load_task(name).name == name
    else:
        part = registry.resolve(kind, name)
        assert METHODS.get(kind, set()) <= set(dir(part))


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_is_registered(folder: str) -> None:
    """A file in a folder of parts has a registry line, and no part has two."""
    kind, helpers = FOLDERS[folder]
    files = {path.stem for path in (PACKAGE / folder).glob("*.py")} - {"__init__"} - helpers
    parts = [registry.locate(kind, name) for name in registry.names(kind)]
    assert {module.rsplit(".", 1)[1] for module, _ in parts} == files
    assert len(set(parts)) == len(parts)


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_part_names_its_source(kind: str, name: str) -> None:
    """Parts made from a paper or a reference say which."""
    if kind in ("scorer", "tagger", "baseline", "architecture", "method", "augmentation"):
        module = registry.locate(kind, name)[0]
        path = PACKAGE.parent / f"{module.replace('.', '/')}.py"
        assert "Source:" in path.read_text("utf-8")


def test_templates_are_never_edited() -> None:
    """Every template file has the sum it was released with."""
    folder = resources.files("promptdetox.prompts.templates")
    files = {p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")}
    assert files == set(registry.names("template")) == set(TEMPLATES)
    for name, expected in TEMPLATES.items():
        content = folder.joinpath(f"{name}.toml").read_bytes()
        assert hashlib.sha256(content).hexdigest()[:16] == expected, name


def test_unknown_names_get_the_nearest() -> None:
    """A misspelt name is answered with the one that was meant."""
    with pytest.raises(ConfigError, match=r"did you mean 'rewrite-plain.v1'"):
        load_template("rewrite-plane.v1")
    with pytest.raises(ConfigError, match=r"unknown kind 'scorrer'.*did you mean 'scorer'"):
        registry.resolve("scorrer", "chrf")


def test_what_is_shipped_is_whole_and_small() -> None:
    """Every shipped model has its sum, a card with use and misuse, and is small enough."""
    assert RewriteConfig().model in shipped_models()
    for row in describe_models(shipped_models()):
        assert row.checksum == "holds"
        card = (Path(row.path).parent / "README.md").read_text("utf-8")
        assert "**Misuse.**" in card
        assert "**Data.**" in card
    weights = [p for p in (PACKAGE / "weights").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in weights) < 40e6
    assert not [p for p in weights if p.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_the_catalogue_is_complete() -> None:
    """Every packaged model has a sum, a licence and a registered architecture."""
    for model in read_catalog().values():
        assert len(model.sha256) == 64
        assert model.licence
        assert model.architecture in registry.names("architecture")
