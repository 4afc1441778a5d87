"""What methods of our own have in common: they train weights of the network itself, or added ones,
and save those alone, under the network's own names.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.errors import ModelError
from promptdetox.models.tokenizer import PromptTokenizer

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"


@dataclass(frozen=True)
class OwnMethod:
    """A method without peft.

    Attributes:
        name: Registered name.
        prepare: Changes the network in place and makes exactly the trained weights require a
            gradient.
        fields: Settings that `load` needs to prepare a network again.
        check: Raises ConfigError if the method does not fit a network, whose weights need not be
            there.
    """

    name: str
    prepare: Callable[[Any, TrainConfig], None]
    fields: tuple[str, ...] = ()
    check: Callable[[Any, TrainConfig], None] = lambda network, config: None

    def attach(self, network: Any, config: TrainConfig, tokenizer: PromptTokenizer) -> Any:
        """Return the network with the method attached and all else frozen."""
        return self._attach(network, config)

    def _attach(self, network: Any, config: TrainConfig) -> Any:
        self.check(network, config)
        network.requires_grad_(False)
        self.prepare(network, config)
        network.promptdetox_method = {
            "promptdetox_method": self.name,
            **{field: getattr(config, field) for field in self.fields},
        }
        return network

    def save(self, network: Any, folder: Path) -> None:
        """Write ``adapter_config.json`` and ``adapter_model.safetensors``."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        learnt = {
            n: p.detach().contiguous() for n, p in network.named_parameters() if p.requires_grad
        }
        save_file(learnt, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        text = json.dumps(network.promptdetox_method, indent=1) + "\n"
        (folder / CONFIG_FILE).write_text(text, "utf-8")

    def load(self, network: Any, folder: Path) -> Any:
        """Return a network with what was saved in it.

        Raises:
            ModelError: It does not fit the network.
        """
        from safetensors.torch import load_file

        saved = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
        settings = {field: saved[field] for field in self.fields}
        config = TrainConfig(data="", output="", method=self.name, **settings)
        network = self._attach(network, config)
        learnt = load_file(folder / WEIGHTS_FILE)
        own = dict(network.named_parameters())
        wrong = [n for n, t in learnt.items() if n not in own or own[n].shape != t.shape]
        if wrong:
            raise ModelError(
                f"the adapter in {folder} does not fit the base model: it changes {wrong[0]!r}; "
                "use the base model it was trained on."
            )
        network.load_state_dict(learnt, strict=False)
        return network
