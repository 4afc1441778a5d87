"""The command line, as a user meets it."""

from __future__ import annotations

import gzip
import io
import json
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from promptdetox.cli import VERBS, build_parser, main
from promptdetox.config import RewriteConfig
from promptdetox.models.catalog import read_catalog, shipped_models

FAKE = ["--engine", "fake"]
PROGRAM = [sys.executable, "-m", "promptdetox"]


@dataclass
class Result:
    """What a command printed and returned."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: Any) -> Any:
    """Return a function that runs the command line in this process."""

    def call(*argv: str, stdin: bytes | None = None) -> Result:
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            code = main(argv)
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capfdbinary.readouterr()
        return Result(code, captured.out.decode("utf-8"), captured.err.decode("utf-8"))

    return call


def test_texts_as_arguments(run: Any) -> None:
    """Each text is one line of output."""
    result = run("rewrite", *FAKE, "you idiot", "good morning")
    assert (result.code, result.out) == (0, "you person\ngood morning\n")


def test_a_text_of_several_lines(run: Any) -> None:
    """A pasted comment is printed with its lines."""
    assert run("rewrite", *FAKE, "you\nidiot\nbye").out == "you\nperson\nbye\n"


def test_a_closed_standard_output_is_one_sentence() -> None:
    """Without standard output the message says so, and what to do."""
    line = f"{shlex.join([*PROGRAM, 'rewrite', *FAKE, 'you idiot'])} >&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "it is closed" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_is_told_from_a_text(run: Any, tmp_path: Path) -> None:
    """A folder, a second argument beside a file, and a missing file each get one sentence."""
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "some.txt").write_text("you idiot\n")
    folder = run("rewrite", *FAKE, str(tmp_path / "folder.csv"))
    assert (folder.code, folder.out) == (4, "")
    assert "expected a file, got a folder" in folder.err
    both = run("rewrite", *FAKE, str(tmp_path / "some.txt"), "and a text")
    assert (both.code, both.out) == (2, "")
    assert "expected one file or some texts, got 2 arguments" in both.err
    assert run("rewrite", *FAKE, "--text", "some.txt", "you idiot").out == "some.txt\nyou person\n"


def test_standard_input(run: Any) -> None:
    """Lines in, lines out; stdout carries data only."""
    result = run("rewrite", *FAKE, stdin=b"you idiot\n\nfine\n")
    assert (result.out, result.err) == ("you person\n\nfine\n", "")


def test_a_file_to_a_file(run: Any, tmp_path: Path) -> None:
    """CSV becomes Parquet with all columns, and a report lies beside it."""
    source, target = tmp_path / "in.csv", tmp_path / "out.parquet"
    source.write_text("id,comment\n7,you idiot\n8,hello\n")
    result = run("rewrite", *FAKE, str(source), "--text-column", "comment", "-o", str(target))
    assert (result.code, result.out) == (0, "")
    assert pq.read_table(target).to_pylist() == [
        {"id": "7", "comment": "you idiot", "output": "you person", "status": "rewritten"},
        {"id": "8", "comment": "hello", "output": "hello", "status": "clean"},
    ]
    report = json.loads((tmp_path / "out.parquet.report.json").read_text())
    assert report["statuses"] == {"rewritten": 1, "clean": 1}
    assert report["config"]["engine"] == "fake"
    assert report["config_digest"] == RewriteConfig(engine="fake").digest


def test_a_file_to_standard_output_keeps_its_format(run: Any, tmp_path: Path) -> None:
    """Without -o a file's own format goes to stdout."""
    path = tmp_path / "in.csv"
    path.write_text("text\nyou idiot\n")
    out = run("rewrite", *FAKE, str(path)).out
    assert out.split() == ["text,output,status", "you", "idiot,you", "person,rewritten"]


def test_json(run: Any) -> None:
    """--json gives an object a text with everything known of it."""
    row = json.loads(run("rewrite", *FAKE, "--json", "you idiot").out)
    assert (row["text"], row["output"], row["status"]) == ("you idiot", "you person", "rewritten")
    assert row["spans"][0]["start"] == 4
    assert row["edits"][0]["after"] == "person"
    assert row["scores"]["lexicon_neutral"] == 1
    assert {"reason", "digest"} <= set(row)


def test_formats_are_what_was_asked_for(run: Any, tmp_path: Path) -> None:
    """A given input format needs no file ending; --json beside another format is refused."""
    path = tmp_path / "in.dat"
    path.write_text('{"text": "you idiot"}\n')
    out = run("rewrite", *FAKE, "--input-format", "jsonl", str(path)).out
    assert json.loads(out)["output"] == "you person"
    for other in (["-o", str(tmp_path / "o.parquet")], ["--output-format", "csv"]):
        refused = run("rewrite", *FAKE, "--json", *other, "you idiot")
        assert (refused.code, refused.out) == (2, "")
        assert "--json writes JSONL" in refused.err
    assert not (tmp_path / "o.parquet").exists()


def test_a_device_gets_no_report(run: Any) -> None:
    """Beside /dev/null lies no report."""
    assert run("rewrite", *FAKE, "-o", "/dev/null", "--output-format", "txt", "you idiot").code == 0
    assert not Path("/dev/null.report.json").exists()


def test_output_column(run: Any, tmp_path: Path) -> None:
    """--output-column renames what is added; a taken name is refused."""
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "you idiot", "output": 1}\n')
    result = run("rewrite", *FAKE, str(path))
    assert result.code == 3
    assert "'output'" in result.err
    assert "--output-column" in result.err
    row = json.loads(run("rewrite", *FAKE, str(path), "--output-column", "clean,how").out)
    assert row == {"text": "you idiot", "output": 1, "clean": "you person", "how": "rewritten"}


def test_dry_run_prints_the_exact_prompt(run: Any) -> None:
    """--dry-run shows what the model would read, and generates nothing."""
    out = run("rewrite", *FAKE, "--dry-run", "--template", "rewrite-plain.v1", "you idiot").out
    assert out.endswith("Toxic: you idiot\nNeutral:\n")
    assert "clean: no prompt" in run("rewrite", *FAKE, "--dry-run", "hello").out
    row = b'{"text": "idiot \\ud800"}\n'
    lone = run("rewrite", *FAKE, "--dry-run", "--input-format", "jsonl", stdin=row)
    assert (lone.code, "idiot \ufffd" in lone.out) == (0, True)
    assert run("rewrite", *FAKE, "--dry-run", "-o", "x.csv", "you idiot").code == 2


def test_settings_file_and_flags(run: Any, tmp_path: Path) -> None:
    """A TOML file sets, a flag overrides, a misspelt key names the nearest."""
    path = tmp_path / "settings.toml"
    path.write_text('engine = "fake"\ndetector = "none"\n')
    result = run("rewrite", "--config", str(path), "--json", "hello")
    assert json.loads(result.out)["status"] == "rewritten"
    result = run("rewrite", "--config", str(path), "--detector", "lexicon-en.v1", "hello")
    assert result.out == "hello\n"
    path.write_text('engin = "fake"\n')
    result = run("rewrite", "--config", str(path), "hello")
    assert result.code == 6
    assert "unknown setting" in result.err
    assert "did you mean 'engine'?" in result.err


def test_own_word_list(run: Any, tmp_path: Path) -> None:
    """--lexicon replaces the detector's words."""
    (tmp_path / "words.txt").write_text("hello\n")
    out = run("rewrite", *FAKE, "--lexicon", str(tmp_path / "words.txt"), "idiot", "hello").out
    assert out == "idiot\n*****\n"


@pytest.mark.parametrize(
    ("argv", "code", "expected"),
    [
        (["rewrite", "--engin", "x"], 2, "--engin"),
        (["rewrite", "missing.csv"], 4, "no such file: missing.csv"),
        (["rewrite", "--engine", "fakes", "x"], 6, "did you mean 'fake'?"),
        (["rewrite", "--template", "rewrite-chat", "x"], 6, "did you mean 'rewrite-chat.v1'?"),
        (["rewrite", "--model", "smollm2-135m", "x"], 6, "did you mean 'smollm2-135m-instruct'?"),
        (["rewrite", "--model", "/nowhere", "x"], 5, "no such model: /nowhere"),
        (["rewrite", "--template", "no.toml", "x"], 4, "cannot read the template no.toml"),
        (["rewrite", *FAKE, "--detector", "none", "--lexicon", "x.txt", "x"], 6, "leave out one"),
        (["rewrite", *FAKE, "--output-column", "a,b,c", "x"], 2, "two different names"),
        (["rewrite", *FAKE, "/tmp"], 4, "expected a file, got a folder"),
        (["rewrite", *FAKE, "--candidates", "0", "x"], 6, "expected 1 or more"),
        (["rewrite", *FAKE, "--output-column", "a,a", "x"], 2, "two different names"),
        (["rewrite", *FAKE, "-o", "/nowhere/x.csv", "x"], 4, "cannot write /nowhere/x.csv"),
        (["rewrite", *FAKE, "-o", "x.doc", "x"], 2, "expected one of .txt"),
        (["evaluate", "--data", "missing.jsonl"], 4, "missing.jsonl"),
        (["models", "nothing"], 6, "unknown model 'nothing'"),
        (["rewrit"], 2, "invalid choice: 'rewrit'"),
    ],
)
def test_faults_have_a_sentence_and_a_code(
    run: Any, argv: list[str], code: int, expected: str
) -> None:
    """Each kind of fault has its exit code, one sentence on stderr and nothing on stdout."""
    result = run(*argv)
    assert result.code == code
    assert expected in result.err
    assert result.out == ""
    assert "Traceback" not in result.err


def test_a_broken_row_keeps_what_was_done(run: Any, tmp_path: Path) -> None:
    """A fault in line 21 names it; finished rows stay, and no file appears under the name."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out.csv"
    rows = [{"text": f"hello {i}"} for i in range(20)]
    source.write_text("".join(json.dumps(r) + "\n" for r in rows) + "{broken\n")
    result = run("rewrite", *FAKE, str(source), "-o", str(target))
    assert result.code == 3
    assert "line 21" in result.err
    assert not target.exists()
    kept = (tmp_path / "out.partial.csv").read_text().splitlines()
    assert f"{len(kept) - 1} finished row(s) are kept in" in result.err
    assert kept[1] == "hello 0,hello 0,clean"


def test_encoding_errors(run: Any) -> None:
    """Bytes that are not UTF-8 stop with the line, or are replaced with a warning."""
    result = run("rewrite", *FAKE, stdin=b"fine\n\xff\n")
    assert result.code == 3
    assert "line 2" in result.err
    assert "--encoding-errors replace" in result.err
    result = run("rewrite", *FAKE, "--encoding-errors", "replace", stdin=b"fine\n\xff\n")
    assert (result.code, result.out) == (0, "fine\n\ufffd\n")
    assert "UTF-8" in result.err


def test_every_verb_has_help_with_an_example() -> None:
    """--help of each verb shows at least one command."""
    parser = build_parser()
    assert parser._subparsers is not None
    choices: Any = parser._subparsers._group_actions[0].choices
    assert set(choices) == set(VERBS)
    for verb in VERBS:
        assert f"examples:\n  promptdetox {verb}" in choices[verb].format_help()


def test_every_setting_is_a_flag(run: Any) -> None:
    """Each field of the settings can be given on the command line."""
    out = run("rewrite", "--help").out
    for name in RewriteConfig.__dataclass_fields__:
        flag = {"n_candidates": "--candidates"}.get(name, f"--{name.replace('_', '-')}")
        assert flag in out


def test_evaluate_prints_a_table(run: Any, tmp_path: Path) -> None:
    """Evaluate shows the baselines and the model, with intervals and signatures."""
    path = tmp_path / "dev.jsonl"
    rows = [{"text": f"you idiot {i}", "targets": [f"you person {i}", "you"]} for i in range(9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("evaluate", *FAKE, "--data", str(path))
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].split() == ["system", "chrf", "lexicon_neutral", "copy_rate", "length_ratio"]
    assert [line.split()[0] for line in lines[1:4]] == ["copy", "deletion", "model"]
    assert "chrF|order:6" in result.out
    table = json.loads(run("evaluate", *FAKE, "--data", str(path), "--json").out)
    assert table["cells"]["model"]["chrf"]["mean"] == pytest.approx(1.0)
    assert table["cells"]["copy"]["copy_rate"]["mean"] == 1.0


def test_models_lists_size_licence_and_checksum(run: Any) -> None:
    """Models shows each packaged model, installed or not."""
    rows = [json.loads(line) for line in run("models", "--json").out.splitlines()]
    assert [row["name"] for row in rows] == [*shipped_models(), *read_catalog()]
    assert {"detox-smollm2.v1", "detect-minilm.v1"} <= set(shipped_models())
    for row in rows:
        assert row["licence"] == "Apache-2.0"
        assert row["checksum"] in ("holds", "not installed")
    assert "smollm2-135m-instruct" in run("models").out


def test_models_looks_at_a_folder(run: Any, tiny_llama: Path) -> None:
    """A folder is described too."""
    row = json.loads(run("models", "--json", str(tiny_llama)).out)
    assert (row["origin"], row["architecture"], row["checksum"]) == (
        "folder",
        "llama",
        "not pinned",
    )


def test_a_closed_pipe_is_no_fault() -> None:
    """`| head -1` ends the run quietly."""
    command = f"yes 'you idiot' | head -5000 | {' '.join(PROGRAM)} rewrite --engine fake | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, timeout=120)
    assert (done.stdout, done.stderr) == (b"you person\n", b"")


def test_full_disk_on_standard_output() -> None:
    """A full disk behind stdout is one sentence and exit code 4."""
    with Path("/dev/full").open("wb") as full:
        command = [*PROGRAM, "rewrite", *FAKE, "you idiot"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=120
        )
    assert done.returncode == 4
    assert b"cannot write standard output: no space left on device; free some" in done.stderr
    assert b"Traceback" not in done.stderr


def test_interrupt_keeps_finished_rows(tmp_path: Path) -> None:
    """Ctrl-C keeps what is done in a valid file and says how many rows that is."""
    target, partial = tmp_path / "out.jsonl.gz", tmp_path / "out.partial.jsonl.gz"
    process = subprocess.Popen(
        [*PROGRAM, "rewrite", *FAKE, "-", "-o", str(target)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"you idiot\n" * 500)
    process.stdin.flush()
    deadline = time.time() + 60
    while time.time() < deadline and not partial.exists():
        time.sleep(0.05)
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    kept = gzip.decompress(partial.read_bytes()).decode().splitlines()
    assert len(kept) >= 8
    assert all(json.loads(line)["output"] == "you person" for line in kept)
    assert f"{len(kept)} finished row(s) are kept in {partial}".encode() in err
    assert not target.exists()


def test_offline_by_construction() -> None:
    """The walk opens no socket."""
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "from promptdetox.cli import main\n"
        "raise SystemExit(main(['rewrite', '--engine', 'fake', 'you idiot']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"you person\n")


@pytest.mark.model
def test_the_real_model_rewrites(run: Any) -> None:
    """The default model runs end to end: clean stays, toxic does not survive."""
    result = run("rewrite", "--json", "you idiot", "good morning")
    assert result.code == 0
    first, second = (json.loads(line) for line in result.out.splitlines())
    assert first["status"] in ("rewritten", "masked")
    assert "idiot" not in first["output"]
    assert (second["status"], second["output"]) == ("clean", "good morning")


@pytest.mark.model
def test_doctor_finds_nothing_wrong(run: Any) -> None:
    """On an installation that is set up, doctor says so."""
    result = run("doctor")
    assert result.code == 0
    assert result.out.splitlines()[-1] == "all is well"


def test_doctor_names_the_remedy(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without weights and cache, doctor says what to run, and exits with the model's code."""
    from promptdetox.models.catalog import PackagedModel

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PROMPTDETOX_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(PackagedModel, "locate", lambda self: None)
    result = run("doctor")
    assert result.code == 5
    assert "smollm2-135m-instruct: not installed\n       -> promptdetox setup" in result.out
    assert "cannot be written" in result.out
    assert "point PROMPTDETOX_CACHE at" in result.out
