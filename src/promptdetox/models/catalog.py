"""Where base weights come from: a pinned package, a folder (or GGUF file), or a hub id."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Literal

from promptdetox.config import RewriteConfig
from promptdetox.errors import ConfigError, ModelError, unknown_name
from promptdetox.models.checkpoint import read_json

# Says what an adapter was learnt on, and with which template.
LEARNT_FILE = "promptdetox.json"

_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model"]


@dataclass(frozen=True)
class PackagedModel:
    """A base model that a pinned package carries: one entry of ``catalog.toml``.

    Attributes:
        name: What users call it.
        kind: ``decoder`` or ``encoder``.
        architecture: Registered name of the builder.
        package: Distribution on PyPI.
        version: Its pinned version.
        path: The weights inside the package's files.
        sha256: Of the weights.
        licence: SPDX id of the weights.
        hub_id: Where the same model lives on the hub.
        description: One line.
    """

    name: str
    kind: Literal["decoder", "encoder"]
    architecture: str
    package: str
    version: str
    path: str
    sha256: str
    licence: str
    hub_id: str
    description: str

    @property
    def requirement(self) -> str:
        """The pinned requirement, for pip."""
        return f"{self.package}=={self.version}"

    def locate(self) -> Path | None:
        """Return the weights' path, or None if the package is not installed."""
        try:
            distribution = metadata.distribution(self.package)
        except metadata.PackageNotFoundError:
            return None
        path = Path(str(distribution.locate_file(self.path)))
        return path if path.is_file() else None


@dataclass(frozen=True)
class ModelSource:
    """Base weights on this machine.

    Attributes:
        name: What the user asked for.
        path: A folder with ``config.json`` and safetensors, or a GGUF file.
        origin: ``package``, ``folder`` or ``hub``.
        sha256: What the weights must have; None where nobody pinned it.
        licence: SPDX id, or ``unknown``.
        adapter: Folder of what was learnt on top; None for the base model as it is.
        adapter_sha256: What the adapter's weights must have.
        template: Prompt template that it was learnt with: a name or a TOML file.
    """

    name: str
    path: Path
    origin: Literal["package", "folder", "hub"]
    sha256: str | None = None
    licence: str = "unknown"
    adapter: Path | None = None
    adapter_sha256: str | None = None
    template: str | None = None

    def weight_files(self) -> list[Path]:
        """Return the files that hold the weights, sorted.

        Raises:
            ModelError: The folder has none.
        """
        if self.path.is_file():
            return [self.path]
        files = sorted(self.path.glob("*.safetensors")) or sorted(self.path.glob("*.gguf"))
        if not files:
            found = ", ".join(sorted(p.name for p in self.path.iterdir())[:8]) or "nothing"
            raise ModelError(
                f"no weights in {self.path}: expected *.safetensors or *.gguf, found {found}; "
                "other formats (pickle among them) are not read, convert them to safetensors."
            )
        return files

    def definition_files(self) -> list[Path]:
        """Return every file that decides what is built: the weights, config and tokenizer."""
        if self.path.is_file():
            return [self.path]
        texts = [*self.path.glob("*.json"), *self.path.glob("*.jinja")]
        return [*self.weight_files(), *sorted(texts)]


@cache
def read_catalog() -> dict[str, PackagedModel]:
    """Return the packaged base models by name."""
    text = resources.files("promptdetox.models").joinpath("catalog.toml").read_text("utf-8")
    return {name: PackagedModel(name=name, **entry) for name, entry in tomllib.loads(text).items()}


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_model(name: str, *, is_rewriter: bool = True) -> ModelSource:
    """Return the base weights that a name stands for.

    Args:
        name: A packaged model (``smollm2-135m-instruct``), a folder, a GGUF file, or a hub id
            (``owner/model``; needs ``promptdetox[hub]`` and is the only case that may use the
            network).
        is_rewriter: What was learnt must be to rewrite; False takes detectors too.

    Raises:
        ModelError: The package or folder is not there, or the hub cannot be reached.
        ConfigError: No such name, the message has the nearest one; or no rewriter.
    """
    catalog = read_catalog()
    if name in catalog:
        return _find_packaged(catalog[name])
    path = Path(name).expanduser()
    for folder in (shipped_folder() / name, path):
        if (folder / LEARNT_FILE).is_file():
            return _find_learnt(name, folder, is_rewriter=is_rewriter)
    if path.is_dir() or (path.is_file() and path.suffix == ".gguf"):
        inside = sorted(path.glob("*.gguf")) if path.is_dir() else []
        if inside and not list(path.glob("*.safetensors")):
            path = inside[0]
        return ModelSource(name=name, path=path, origin="folder")
    if path.exists():
        raise ModelError(
            f"{name} is not a model: expected a folder with config.json and *.safetensors, "
            "or a .gguf file."
        )
    if path.suffix == ".gguf" or name.startswith((".", "/", "~")):
        raise ModelError(f"no such model: {name} is neither a folder nor a file; check the path.")
    if _is_hub_id(name):
        folder = _fetch(name, "snapshot_download", allow_patterns=_HUB_FILES)
        return ModelSource(name=name, path=folder, origin="hub")
    raise unknown_name("model", name, [*catalog, *shipped_models()])


def read_model_config(name: str) -> dict[str, Any]:
    """Return the ``config.json`` of a base model; of a hub id, only that file is fetched.

    Of a GGUF file, which has none, only the type is known.

    Raises:
        ConfigError: There is no such model, or it is a result of training.
        ModelError: It is not here, or the hub cannot be reached.
    """
    if _is_hub_id(name):
        return read_json(_fetch(name, "hf_hub_download", "config.json"))
    source = find_model(name)
    if source.adapter is not None:
        base = read_json(source.adapter / LEARNT_FILE)["base"]
        raise ConfigError(f"{name} is a result of training: train on its base model, {base}.")
    if source.path.is_file():
        return {"model_type": "llama"}
    return read_json(source.path / "config.json")


def _is_hub_id(name: str) -> bool:
    return (
        name not in read_catalog()
        and name.count("/") == 1
        and not name.startswith((".", "/", "~"))
        and not Path(name).expanduser().exists()
        and Path(name).suffix != ".gguf"
    )


def shipped_folder() -> Path:
    """Return where what we trained lies, as package data."""
    return Path(str(resources.files("promptdetox"))) / "weights"


def models_in_use() -> list[str]:
    """Return what the default settings need: a decoder, an encoder and, if learnt, a detector."""
    config = RewriteConfig()
    return [config.model, config.encoder, *({config.detector_name} & set(shipped_models()))]


def shipped_models() -> list[str]:
    """Return the names of the models that come with this package, on packaged base models."""
    return sorted(path.parent.name for path in shipped_folder().glob(f"*/{LEARNT_FILE}"))


def _find_packaged(model: PackagedModel) -> ModelSource:
    path = model.locate()
    if path is None:
        raise ModelError(
            f"the weights of {model.name} are not installed: expected the package "
            f"{model.requirement}; run `promptdetox setup`."
        )
    path = path if path.suffix == ".gguf" else path.parent
    return ModelSource(
        name=model.name, path=path, origin="package", sha256=model.sha256, licence=model.licence
    )


def _find_learnt(name: str, folder: Path, *, is_rewriter: bool) -> ModelSource:
    learnt = read_json(folder / LEARNT_FILE)
    if "heads" in learnt and is_rewriter:
        raise ConfigError(
            f"{name} was trained to {learnt.get('task')}, not to rewrite: give it to "
            "--detector; in Python both are read by promptdetox.engines.learnt.load_learnt."
        )
    try:
        base = find_model(learnt["base"])
        template = None if "heads" in learnt else learnt["template"]
        sha256 = learnt["base_sha256"]
        adapter_sha256 = learnt["adapter_sha256"]
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"{folder / LEARNT_FILE} lacks {error}: expected what `promptdetox train` writes."
        ) from error
    own = folder / "template.toml"
    return replace(
        base,
        name=name,
        sha256=sha256,
        adapter=folder,
        adapter_sha256=adapter_sha256,
        template=str(own) if own.is_file() else template,
    )


def _fetch(name: str, function: str, *arguments: str, **options: Any) -> Path:
    """Return what a function of huggingface_hub fetches of a model."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ModelError(
            f"{name!r} is neither a packaged model nor a folder here, and hub ids need "
            "huggingface_hub: run `pip install 'promptdetox[hub]'` or give a folder."
        ) from error
    try:
        return Path(getattr(huggingface_hub, function)(name, *arguments, **options))
    except Exception as error:  # the hub raises a dozen kinds; each means the same to the user
        raise ModelError(
            f"cannot get {name!r} from the hub ({type(error).__name__}): check the id and the "
            "network, or download it elsewhere and give the folder."
        ) from error
