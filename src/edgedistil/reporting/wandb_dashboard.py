"""The workspace and the report of a W&B project, made by code, so that the dashboard stands without clicks."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import StepError, UserError
from ..store.files import read_json, write_json
from . import wandb_session
from .wandb_log import marker_of

NAME = "edgedistil"
# What W&B calls the figures of a record's run.
_SCORE = "judged/score"
_P50 = "latency/tokens_32/latency_ms_p50"
_SIZE = "size/model_mb"
_SPEED = "speedup/torch_fp32/tokens_32/ratio"
_MEMORY = "memory/batch_1/peak_rss_mb"
_COLD = "cold_start/cold_start_ms_p50/total"
# Tries of a question to a server before it counts as away; wandb's own number takes minutes.
_TRIES = "2"


@dataclass(frozen=True)
class Place:
    """A project; ``entity`` None: of the account that is logged in."""

    project: str
    entity: str | None = None


def place_of(text: str) -> Place:
    """``PROJECT`` or ``ENTITY/PROJECT``.

    Raises:
        UserError: anything else.
    """
    entity, slash, project = text.rpartition("/")
    if not project or "/" in entity or (slash and not entity):
        raise UserError(f"{text!r} is no project of W&B; example: edgedistil, or TEAM/edgedistil")
    return Place(project, entity or None)


def dashboard(place: Place, store: Path, sweep: str | None = None, with_report: bool = True) -> dict[str, str]:
    """Make the project's workspace and report, or bring those that were made before up to date; returns their URLs.

    Args:
        store: where it is noted which ones they are.
        sweep: a group of runs: the views show it alone.

    Raises:
        UserError: the packages are not there, or nobody is logged in.
        StepError: the server does not answer, or refuses.
    """
    os.environ.setdefault("WANDB_X_GRAPHQL_RETRY_MAX", _TRIES)
    wandb_session.quiet()
    try:
        import wandb
        import wandb_workspaces  # noqa: F401
        from wandb.sdk import wandb_setup
    except ImportError as error:
        raise UserError(f"the dashboard needs {error.name}: pip install 'edgedistil[dashboards]'") from error
    base_url = str(wandb_setup.singleton().settings.base_url)
    if not wandb_session.has_account(base_url):
        raise UserError(f"no account found for {base_url}: a workspace lives on a server; `wandb login` first")
    try:
        entity = place.entity or wandb.Api(timeout=20).default_entity
        if not entity:
            raise UserError("the account has no default entity: name one, as in TEAM/PROJECT")
        made = {"workspace": _workspace(entity, place, store, sweep)}
        if with_report:
            made["report"] = _report(entity, place, store, sweep)
        return made
    except UserError:
        raise
    except Exception as error:
        raise StepError(f"{base_url}: {wandb_session.in_short(error)}") from error


def _workspace(entity: str, place: Place, store: Path, sweep: str | None) -> str:
    from wandb_workspaces import expr, workspaces

    shown = workspaces.RunsetSettings(
        filters=[expr.Metric("Group") == sweep] if sweep else [],
        groupby=[expr.Metric("JobType")],
        pinned_columns=[
            "run:displayName",
            "run:jobType",
            f"summary:{_SCORE}",
            f"summary:{_P50}",
            f"summary:{_SIZE}",
        ],
    )
    parts = [workspaces.Section(name=name, panels=panels, is_open=True) for name, panels in sections().items()]
    note, known = _known(store, place, "workspace", sweep)
    found = None
    if known:
        try:
            found = workspaces.Workspace.from_url(known)
        except ValueError:
            # Somebody deleted it.
            found = None
    if found is None:
        found = workspaces.Workspace(
            entity=entity, project=place.project, name=_title(sweep), sections=parts, runset_settings=shown
        )
    else:
        found.sections, found.runset_settings = parts, shown
    url = str(found.save().url)
    write_json(note, {"url": url})
    return url


def _report(entity: str, place: Place, store: Path, sweep: str | None) -> str:
    from wandb_workspaces import expr
    from wandb_workspaces.reports import v2

    note, known = _known(store, place, "report", sweep)
    filters: Any = [expr.Metric("Group") == sweep] if sweep else ""
    runs = v2.Runset(entity=entity, project=place.project, name=sweep or "all runs", filters=filters)
    blocks: list[Any] = [v2.P("Made by python -m edgedistil dashboard; made again, it is written anew.")]
    for name, panels in sections().items():
        blocks += [v2.H2(name), v2.PanelGrid(runsets=[runs], panels=panels)]
    found = None
    if known:
        try:
            found = v2.Report.from_url(known)
        except ValueError:
            found = None
    if found is None:
        found = v2.Report(entity=entity, project=place.project, title=_title(sweep), blocks=blocks)
    else:
        found.blocks = blocks
    url = str(found.save().url)
    write_json(note, {"url": url})
    return url


def sections() -> dict[str, list[Any]]:
    """The panels by the heading under which they stand."""
    from wandb_workspaces.reports import v2

    def curve(title: str, *metrics: str) -> Any:
        return v2.LinePlot(title=title, x="trainer/global_step", y=list(metrics))

    def front(title: str, cost: str) -> Any:
        return v2.ScatterPlot(title=title, x=v2.SummaryMetric(cost), y=v2.SummaryMetric(_SCORE), log_x=True)

    def bars(title: str, metric: str) -> Any:
        return v2.BarPlot(title=title, metrics=[v2.SummaryMetric(metric)])

    columns = [
        (_SCORE, "score"),
        (_P50, "p50 ms"),
        (_SIZE, "MB"),
        (_MEMORY, "peak RSS MB"),
        (_COLD, "cold start ms"),
    ]
    return {
        "The matrix": [
            v2.WeavePanelSummaryTable(table_name="matrix"),
            v2.ParallelCoordinatesPlot(
                title="every cell",
                columns=[v2.ParallelCoordinatesPlotColumn(v2.SummaryMetric(m), name) for m, name in columns],
            ),
        ],
        "Quality against what it costs": [
            front("score against latency at 32 tokens (p50, ms)", _P50),
            front("score against the model's size (MB)", _SIZE),
        ],
        "What it costs": [
            bars("times faster than PyTorch eager FP32, 32 tokens", _SPEED),
            bars("peak RSS (MB)", _MEMORY),
            bars("cold start (ms)", _COLD),
        ],
        "Training": [
            curve("training loss", "train/loss"),
            curve("held-out score", "held_out/score"),
            curve("held-out loss", "held_out/loss"),
            curve("real tokens per second", "train/tokens_per_s"),
        ],
    }


def _title(sweep: str | None) -> str:
    return f"{NAME}: {sweep}" if sweep else NAME


def _known(store: Path, place: Place, what: str, sweep: str | None) -> tuple[Path, str | None]:
    """Where the URL of a view that was made before is noted, and that URL."""
    name = f"{what}-{sweep}" if sweep else what
    note = marker_of(store, {"project": place.project, "entity": place.entity}, name.replace("/", "_"))
    return note, str(read_json(note)["url"]) if note.is_file() else None
