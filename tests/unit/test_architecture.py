"""The layers: arrows point down, nothing heavy at import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import promptdetox

PACKAGE = Path(promptdetox.__file__).parent

# A module may import from its own line and from lines above it.
LAYERS = [
    ["types", "errors"],
    ["registry", "config"],
    ["records", "segment", "edits", "normalize", "tasks", "utf16", "windows"],
    ["models"],
    ["prompts"],
    ["engines", "spans", "scorers", "augment", "methods", "training"],
    ["detect", "baselines", "objectives", "rewrite", "train"],
    ["evaluate", "apply", "show", "thresholds", "doctor", "search"],
    ["cli"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def imports_of(path: Path) -> set[str]:
    """Return the package's modules that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("promptdetox"):
            assert node.module
            names = [alias.name for alias in node.names]
            found |= {node.module} if "." in node.module else {f"promptdetox.{n}" for n in names}
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.startswith("promptdetox")}
    return {name.removeprefix("promptdetox.") for name in found}


def test_arrows_point_down_only() -> None:
    """No module imports from a layer above its own."""
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts in (("__init__",), ("__main__",)):
            continue
        for name in imports_of(path) - {"__version__"}:
            if RANK[name.split(".")[0]] > RANK[parts[0]]:
                wrong.append(f"{'.'.join(parts)} -> {name}")
    assert not wrong


def test_no_import_cycle_among_files() -> None:
    """Files import one another in one direction."""
    graph = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        graph[name.removesuffix(".__init__")] = imports_of(path)
    seen: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"cycle: {' -> '.join([*trail, name])}"
        if name in seen:
            return
        for target in graph.get(name, ()):
            visit(target, (*trail, name))
        seen.add(name)

    for name in graph:
        if name not in ("__init__",):
            visit(name, ())


def test_the_root_is_never_imported_inside() -> None:
    """Modules import from modules; only the version comes from the root."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "promptdetox":
                names = {alias.name for alias in node.names}
                assert names <= {"__version__", "registry"}, path


def test_every_module_has_its_layer() -> None:
    """A new module must say where it belongs."""
    names = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/*.py")}
    assert names - {"__init__", "__main__", "promptdetox"} == set(RANK)


def test_importing_loads_nothing_heavy() -> None:
    """`import promptdetox` and the command line's parser load no torch, transformers or numpy."""
    heavy = (
        "torch",
        "transformers",
        "numpy",
        "pyarrow",
        "ctranslate2",
        "tokenizers",
        "sacrebleu",
        "optuna",
    )
    code = (
        "import sys, promptdetox.cli; promptdetox.cli.build_parser(); "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rewriting_loads_no_torch() -> None:
    """The default engine's modules load neither torch nor transformers."""
    code = (
        "import sys; from promptdetox import Detoxifier; "
        "import promptdetox.engines.ctranslate2, promptdetox.apply; "
        "Detoxifier.from_pretrained(engine='fake').detox(['you idiot']); "
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_pickle_and_no_remote_code() -> None:
    """Nothing unpickles, and nobody trusts remote code."""
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text("utf-8")
        assert "import pickle" not in source, path
        assert "trust_remote_code=True" not in source, path
        assert "torch.load" not in source, path
