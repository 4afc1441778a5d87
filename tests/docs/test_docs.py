"""README and docs: commands, Python blocks, links and figures.

A comment before a block says what to do with it: ``<!-- run -->`` runs it and compares what it
prints, ``<!-- run: model -->`` does so where the weights are, ``<!-- file: NAME -->`` makes it a
file that the examples read, ``<!-- tree -->`` is the file tree.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import inspect
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from promptdetox import errors
from promptdetox.cli import VERBS, build_parser

# The tests run on a copy of the documents, beside the tests; links lead into the clone.
HERE = Path(__file__).resolve().parents[2]
PAGES = [HERE / "README.md", HERE / "CHANGELOG.md", HERE / "CONTRIBUTING.md"]
PAGES += sorted((HERE / "docs").glob("**/*.md"))
NAMES = [str(page.relative_to(HERE)) for page in PAGES]

BLOCK = re.compile(
    r"(?:^<!-- (run|run: model|file: \S+|tree) -->\n)?^```(\w+)\n(.*?)^```$", re.M | re.S
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
# What depends on versions and settings, and says nothing about the example.
VARIABLE = [(r"sacrebleu:[\d.]+", "sacrebleu:V"), (r'"digest": "[0-9a-f]{16}"', '"digest": "D"')]
# Files that examples read and no page shows.
SAMPLES = {
    "in.csv": "id,comment\n007,you idiot\n008,see you at 5\n",
    "posts.jsonl": '{"id":1, "price" : 1.10, "text":"you idiot"}\n'
    '{"id":2, "price" : 1E5,  "text":null}\n',
    "broken.jsonl": '{"text": "good morning"}\n' * 8 + "{broken\n",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: The page's path.
        line: Where the block begins, from 1.
        mark: What the comment before it says; empty for none.
        language: After the fence.
        content: The lines between the fences.
    """

    page: str
    line: int
    mark: str
    language: str
    content: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a shell block and what the block says it prints."""

    line: str
    expected: str


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    text = (HERE / page).read_text("utf-8")
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match[1] or "", match[2], match[3])


BLOCKS = [block for name in NAMES for block in blocks_of(name)]
CONSOLE = [block for block in BLOCKS if block.language == "console"]
SHELL = [block for block in BLOCKS if block.language == "sh"]
PYTHON = [block for block in BLOCKS if block.language == "python"]


def with_marks(blocks: list[Block]) -> list[Any]:
    """Return blocks as parameters; those that need the weights are marked so."""
    marks = {"run: model": (pytest.mark.model,)}
    return [pytest.param(b, id=str(b), marks=marks.get(b.mark, ())) for b in blocks]


def commands_of(block: Block) -> list[Command]:
    """Return the commands of a console block with their output, of a shell block without."""
    if block.language == "sh":
        return [Command(line, "") for line in block.content.splitlines() if line.strip()]
    commands = []
    for part in re.split(r"^\$ ", block.content, flags=re.M)[1:]:
        line, _, expected = part.partition("\n")
        commands.append(Command(line, expected))
    return commands


def arguments_of(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each `promptdetox` in a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set("|&;<>()"):
            words.append(word)
            continue
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words.pop(0)
        if words[:1] == ["promptdetox"]:
            yield words[1:]
        words = []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the files that examples read."""
    shutil.copy(HERE / "examples" / "comments.txt", tmp_path)
    files = {b.mark.removeprefix("file: "): b.content for b in BLOCKS if b.mark.startswith("file")}
    for name, content in {**SAMPLES, **files}.items():
        (tmp_path / name).write_text(content, "utf-8")
    return tmp_path


def run_shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in a folder, standard error with standard output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )


def normalise(output: str) -> str:
    """Return an output without what depends on versions and settings."""
    for pattern, replacement in VARIABLE:
        output = re.sub(pattern, replacement, output)
    return output.rstrip("\n")


def load_script(name: str) -> Any:
    """Return a script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, HERE / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse prints help differently")
def test_the_command_line_page_is_what_help_prints() -> None:
    """docs/cli.md is what `--help` prints; `make docs` writes it again."""
    assert (HERE / "docs" / "cli.md").read_text("utf-8") == load_script("make_cli").render()


@pytest.mark.parametrize("block", with_marks([b for b in CONSOLE if b.mark]))
def test_console_blocks_print_what_they_show(block: Block, folder: Path) -> None:
    """Commands that are shown with their output print it."""
    for command in commands_of(block):
        assert normalise(run_shell(command.line, folder).stdout) == normalise(command.expected)


def test_output_is_never_shown_without_being_compared() -> None:
    """A console block says whether it is run."""
    assert [str(block) for block in CONSOLE if not block.mark] == []


@pytest.mark.parametrize("block", with_marks(SHELL))
def test_shell_blocks_parse_and_run(block: Block, folder: Path) -> None:
    """Commands without output parse, and rewriting and evaluating run with the fake engine."""
    for command in commands_of(block):
        found = [
            (words[0], build_parser().parse_args(words)) for words in arguments_of(command.line)
        ]
        if {verb for verb, _ in found} & {"rewrite", "evaluate"}:
            line = re.sub(r"promptdetox (rewrite|evaluate)", r"\g<0> --engine fake", command.line)
            done = run_shell(line, folder)
            assert done.returncode == 0, f"{command.line}: {done.stdout}"


def test_the_readme_has_an_example_of_each_verb() -> None:
    """Each verb stands in a shell block of the README."""
    lines = [c.line for b in [*CONSOLE, *SHELL] if b.page == "README.md" for c in commands_of(b)]
    assert {words[0] for line in lines for words in arguments_of(line)} == set(VERBS)


@pytest.mark.parametrize("block", with_marks(PYTHON))
def test_python_blocks_print_what_they_show(
    block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python examples run as they stand, each after those before it on its page."""
    monkeypatch.chdir(folder)
    before = [b for b in PYTHON if b.page == block.page and b.line < block.line and not b.mark]
    values: dict[str, Any] = {}
    report = io.StringIO()
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    for part in [*before, block]:
        test = doctest.DocTestParser().get_doctest(part.content, values, str(part), part.page, 0)
        assert test.examples, f"{part} shows no `>>>`"
        with contextlib.redirect_stderr(io.StringIO()):
            runner.run(test, out=report.write, clear_globs=False)
        values = test.globs
    assert runner.summarize(verbose=False).failed == 0, report.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str, root: Path) -> None:
    """A link to a file or a heading leads to one that exists."""
    for target in LINK.findall((HERE / name).read_text("utf-8")):
        if re.match(r"https?:", target):
            continue
        file, _, heading = target.partition("#")
        path = (root / name).parent / file if file else root / name
        assert path.exists(), f"{name}: {target}"
        if heading:
            assert heading in headings_of(path), f"{name}: {target}"


def headings_of(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_the_file_tree_is_that_of_the_clone(root: Path) -> None:
    """The README's tree names only what exists, and every folder and module of the package."""
    (tree,) = [block for block in BLOCKS if block.mark == "tree"]
    named, parent = set(), ""
    for line in tree.content.splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].split()
        parent = parent if line.startswith(" ") else names[0]
        named |= {parent + name if line.startswith(" ") else name for name in names}
    assert [name for name in sorted(named) if not (root / name).exists()] == []
    package = root / "src" / "promptdetox"
    folders = {f"{path.name}/" for path in package.iterdir() if path.is_dir()} - {"__pycache__/"}
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert {f"src/promptdetox/{name}" for name in folders | modules} <= named


def test_figures_are_those_of_the_results() -> None:
    """A figure is that of its result file, or a placeholder where the result does not exist yet."""
    script = load_script("fill_numbers")
    for page in script.pages(HERE):
        text = page.read_text("utf-8")
        assert script.fill(text, HERE / "results") == text, f"{page.name}: run `make docs`"
        for file, shown in script.figures(text):
            is_there = (HERE / "results" / f"{file}.json").exists()
            assert is_there or re.fullmatch(r"\{\{.+\}\}", shown), f"{page.name}: {shown}"


def test_the_table_of_exit_codes_is_complete() -> None:
    """The README has the exit code of each kind of fault."""
    classes = [part for _, part in inspect.getmembers(errors, inspect.isclass)]
    codes = {part.exit_code for part in classes if issubclass(part, errors.PromptDetoxError)}
    rows = re.findall(r"^\| (\d+) \| ", (HERE / "README.md").read_text("utf-8"), flags=re.M)
    assert {*map(str, codes), "0", "130"} == set(rows)


def test_every_decision_is_in_the_index() -> None:
    """docs/decisions/README.md lists every record, in order, under its title."""
    folder = HERE / "docs" / "decisions"
    listed = re.findall(
        r"^\| \[(\d+)\]\((\S+)\) \| (.*) \|$", (folder / "README.md").read_text(), re.M
    )
    records = [path for path in sorted(folder.glob("*.md")) if path.name != "README.md"]
    assert [row[1] for row in listed] == [path.name for path in records]
    for (number, _, title), path in zip(listed, records, strict=True):
        assert path.read_text("utf-8").startswith(f"# {number}. {title}\n"), path.name


def test_the_hooks_are_the_commands_of_make_check(root: Path) -> None:
    """pre-commit runs what `make check` runs."""
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (HERE / "Makefile").read_text("utf-8"), re.M)
    assert recipe is not None
    expected = [
        line.strip().replace("$(TEST_BIN)", ".venv-test/bin") for line in recipe[1].splitlines()
    ]
    hooks = (root / ".pre-commit-config.yaml").read_text("utf-8")
    assert re.findall(r"entry: (.*)", hooks) == expected
