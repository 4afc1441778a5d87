"""Run the walk over a file, a stream or a list, and write what comes out."""

from __future__ import annotations

import json
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, TextIO, TypeVar

from promptdetox import __version__
from promptdetox.config import DetectConfig, RewriteConfig
from promptdetox.detect import Detector
from promptdetox.errors import UsageError
from promptdetox.records import RecordWriter, format_of, read_records
from promptdetox.records.formats import write_error
from promptdetox.records.rows import CellsRow, replace_surrogates
from promptdetox.rewrite import Detoxifier
from promptdetox.types import CATEGORIES, Detection, Record, Rewrite

_Found = TypeVar("_Found")
_Result = TypeVar("_Result", covariant=True)

_DETAILS = ("spans", "edits", "scores", "reason", "digest")
_DECISIONS = ("toxic", "hateful")
# Column -> score; a decision has the name of one.
_SCORES = {f"{name}_score" if name in _DECISIONS else name: name for name in CATEGORIES}


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to read and where to write.

    Attributes:
        texts: Given texts; None to read `source`.
        source: A path or a binary stream.
        target: A path or a binary stream.
        input_format: Default by the source's name, txt for a stream.
        output_format: Default by the target's name, otherwise the input's (JSONL for Parquet).
        text_column: Column of the text.
        encoding_errors: What to do with bytes that are not UTF-8.
        has_progress: Show a progress bar on standard error.
    """

    texts: list[str] | None
    source: Path | BinaryIO | None
    target: Path | BinaryIO
    input_format: str | None = None
    output_format: str | None = None
    text_column: str = "text"
    encoding_errors: Literal["strict", "replace"] = "strict"
    has_progress: bool = False


@dataclass(frozen=True, kw_only=True)
class RewriteJob(Job):
    """A job of rewriting.

    Attributes:
        output_columns: Names of the added columns: output and status.
        has_details: Write spans, edits, scores, reason and digest too (JSONL).
    """

    output_columns: tuple[str, str] = ("output", "status")
    has_details: bool = False


@dataclass(frozen=True, kw_only=True)
class DetectJob(Job):
    """A job of detection.

    Attributes:
        prefix: Put before the names of the added columns.
    """

    prefix: str = ""


class _Walk(Protocol[_Result]):
    """What a job runs: texts in, one result each, in order."""

    digest: str

    @property
    def thresholds(self) -> Mapping[str, float]: ...

    def stream(self, texts: Iterable[str]) -> Iterator[_Result]: ...


def rewrite_job(job: RewriteJob, config: RewriteConfig) -> Mapping[str, int]:
    """Rewrite a whole input; return how many texts got which status.

    Beside an output file lies ``<name>.report.json``: the settings, their digest and the counts.

    Raises:
        PromptDetoxError: Anything wrong with input, output, model or settings.
        KeyboardInterrupt: Interrupted; finished rows are kept and standard error says where.
    """
    format_ = _rewrite_format(job)
    if job.texts is not None and not isinstance(job.target, Path) and format_ == "txt":
        return _print_outputs(job.texts, job.target, config)
    columns = (*job.output_columns, *(_DETAILS if job.has_details else ()))
    writer = RecordWriter(job.target, format=format_, columns=columns)
    return _run_job(
        job,
        config,
        writer,
        load=lambda: Detoxifier.from_config(config),
        values=lambda record, rewrite: _rewrite_values(job, record, rewrite),
        outcome=lambda rewrite: rewrite.status,
    )


def detect_job(job: DetectJob, config: DetectConfig) -> Mapping[str, int]:
    """Write what is toxic in a whole input; return how many texts are toxic, hateful, clean.

    JSONL (the default, whatever is read) has the columns ``toxic``, ``hateful``, ``scores`` and
    ``spans``; CSV, TSV and Parquet have one column for each score, and the spans as JSON.

    Raises:
        PromptDetoxError: Anything wrong with input, output, detector or settings.
        KeyboardInterrupt: Interrupted; finished rows are kept and standard error says where.
    """
    format_ = job.output_format
    if format_ is None and isinstance(job.target, Path):
        format_ = format_of(job.target)
    format_ = format_ or "jsonl"
    if format_ == "txt":
        raise UsageError("detect writes .jsonl, .csv, .tsv or .parquet: a .txt has one column.")
    is_flat = format_ != "jsonl"
    columns = (*_DECISIONS, *(_SCORES if is_flat else ("scores",)), "spans")
    types = {**dict.fromkeys(_SCORES, "double"), **dict.fromkeys(_DECISIONS, "bool")}
    spell = _flat_values if is_flat else describe_detection
    writer = RecordWriter(
        job.target,
        format=format_,
        columns=tuple(f"{job.prefix}{name}" for name in columns),
        types={f"{job.prefix}{name}": kind for name, kind in types.items()},
    )
    return _run_job(
        job,
        config,
        writer,
        load=lambda: Detector.from_config(config),
        values=lambda _, found: {f"{job.prefix}{k}": v for k, v in spell(found).items()},
        outcome=lambda found: "hateful" if found.hateful else "toxic" if found.toxic else "clean",
    )


def describe_detection(found: Detection) -> dict[str, Any]:
    """Return what was found as JSON: ``toxic``, ``hateful``, ``scores``, ``spans``."""
    return {
        "toxic": found.toxic,
        "hateful": found.hateful,
        "scores": {name: round(score, 4) for name, score in found.scores.items()},
        "spans": [{**asdict(span), "score": round(span.score, 4)} for span in found.spans],
    }


def _flat_values(found: Detection) -> dict[str, Any]:
    values = describe_detection(found)
    scores = {column: values["scores"].get(name) for column, name in _SCORES.items()}
    spans = json.dumps(values["spans"], ensure_ascii=False)
    return {**{name: values[name] for name in _DECISIONS}, **scores, "spans": spans}


def _run_job(
    job: Job,
    config: DetectConfig,
    writer: RecordWriter,
    *,
    load: Callable[[], _Walk[_Found]],
    values: Callable[[Record, _Found], dict[str, Any]],
    outcome: Callable[[_Found], str],
) -> Mapping[str, int]:
    """Run a walk over the input into a writer; return how many texts had which outcome."""
    counts: Counter[str] = Counter()
    try:
        with writer:
            walk = load()
            pairs = pair_records(walk, read_job(job, writer.set_header))
            for record, found in _with_progress(pairs, job):
                writer.write(record, values(record, found))
                counts[outcome(found)] += 1
    except BrokenPipeError:
        raise  # the reader has what it wanted
    except BaseException:
        _say_what_is_kept(writer)
        raise
    if isinstance(job.target, Path) and job.target.is_file():  # not beside /dev/null
        _write_report(job.target, config, walk, counts)
    return counts


def _print_outputs(texts: list[str], out: BinaryIO, config: RewriteConfig) -> Mapping[str, int]:
    """Write the outputs of given texts as they are: a pasted comment may have several lines."""
    counts: Counter[str] = Counter()
    for rewrite in Detoxifier.from_config(config).stream(texts):
        try:
            out.write(replace_surrogates(rewrite.output).encode() + b"\n")
            out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise write_error("standard output", error) from error
        counts[rewrite.status] += 1
    return counts


def print_prompts(job: RewriteJob, config: RewriteConfig, out: TextIO, *, as_json: bool) -> None:
    """Write the exact prompts of every text that is not clean, without generating.

    Raises:
        PromptDetoxError: Anything wrong with input, model or settings.
    """
    detoxifier = Detoxifier.from_config(config)
    for record in read_job(job):
        prompts = [prompt.text for prompt in detoxifier.build_prompts(record.text or "")]
        if as_json:
            row = {"line": record.line, "text": record.text, "prompts": prompts}
            out.write(json.dumps(row) + "\n")
        else:
            shown = replace_surrogates("\n---\n".join(prompts or ["(clean: no prompt)"]))
            out.write(f"--- line {record.line}\n{shown}\n")


def pair_records(walk: _Walk[_Found], records: Iterable[Record]) -> Iterator[tuple[Record, _Found]]:
    """Yield each record with what a walk makes of its text, in order; a null text is empty."""
    waiting: deque[Record] = deque()

    def texts() -> Iterator[str]:
        for record in records:
            waiting.append(record)
            yield record.text or ""

    for found in walk.stream(texts()):
        yield waiting.popleft(), found


def read_job(
    job: Job, on_header: Callable[..., None] = lambda names, schema: None
) -> Iterator[Record]:
    """Yield the records that a job reads.

    Args:
        job: Says where from.
        on_header: Gets the names of the columns, and the Arrow schema of Parquet.
    """
    if job.texts is not None:
        for index, text in enumerate(job.texts):
            yield Record(index, index + 1, text, CellsRow(("text",), (text,)))
    elif job.source is not None:
        yield from read_records(
            job.source,
            format=job.input_format,
            text_column=job.text_column,
            encoding_errors=job.encoding_errors,
            on_header=on_header,
        )


def _rewrite_format(job: RewriteJob) -> str:
    chosen = job.output_format
    if chosen is None and isinstance(job.target, Path):
        chosen = format_of(job.target)
    if job.has_details:
        if chosen not in (None, "jsonl"):
            raise UsageError(
                f"--json writes JSONL, not {chosen}: leave out --json, or ask for .jsonl."
            )
        return "jsonl"
    if chosen is not None:
        return chosen
    if job.texts is not None:
        return "txt"
    read_as = job.input_format
    if read_as is None:
        read_as = format_of(job.source) if isinstance(job.source, Path) else "txt"
    return "jsonl" if read_as == "parquet" else read_as


def _rewrite_values(job: RewriteJob, record: Record, rewrite: Rewrite) -> dict[str, Any]:
    output, status = job.output_columns
    values: dict[str, Any] = {
        output: None if record.text is None else rewrite.output,
        status: rewrite.status,
    }
    if job.has_details:
        values |= {
            "spans": [asdict(span) for span in rewrite.spans],
            "edits": [asdict(edit) for edit in rewrite.edits],
            "scores": dict(rewrite.scores),
            "reason": rewrite.reason,
            "digest": rewrite.digest,
        }
    return values


def _with_progress(
    pairs: Iterator[tuple[Record, _Found]], job: Job
) -> Iterator[tuple[Record, _Found]]:
    if not job.has_progress or job.texts is not None:
        return pairs
    from tqdm import tqdm

    return iter(tqdm(pairs, unit=" texts", file=sys.stderr, mininterval=0.5))


def _say_what_is_kept(writer: RecordWriter) -> None:
    if writer.partial_path is not None:
        sys.stderr.write(
            f"promptdetox: {writer.n_written} finished row(s) are kept in {writer.partial_path}\n"
        )
    elif writer.n_written:
        sys.stderr.write(f"promptdetox: {writer.n_written} row(s) were written\n")


def _write_report(
    target: Path, config: DetectConfig, walk: _Walk[Any], counts: Mapping[str, int]
) -> None:
    report = {
        "promptdetox": __version__,
        "config": {**asdict(config), "detector": config.detector_name},
        "config_digest": config.digest,
        "thresholds": dict(walk.thresholds),
        "digest": walk.digest,
        "n": sum(counts.values()),
        "statuses": dict(counts),
    }
    path = target.with_name(f"{target.name}.report.json")
    try:
        path.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise write_error(str(path), error) from error
