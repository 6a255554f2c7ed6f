"""`lakeferry report`: ask the pipeline's views, draw, write one file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from connectors.errors import ObjectNotFound, UsageError
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec
from jobs.warehouse.client import open_warehouse


def report_file(settings: Settings, pipeline: str) -> Path:
    """Where a pipeline's report lies unless the user names a file: in the state folder, not in the checkout. Creates
    the folder.

    Raises:
        UsageError: the folder cannot be created.
    """
    folder = (settings.state_dir / "reports").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be created: {error.strerror}", fix="Name a file: --to") from None
    return folder / f"{pipeline}.html"


def write_report(spec: PipelineSpec, settings: Settings, to: Path) -> list[str]:
    """Write charts of the pipeline's views into a file; return the names of views that are not in BigQuery yet.

    The views' queries are billed as any query is: two aggregates a view, neither of which
    may bill more than `LAKEFERRY_MAX_BYTES_BILLED`.

    Raises:
        PackageMissing: the packages that draw are not installed.
        SpecError: the pipeline has no views.
        ObjectNotFound: none of them is in BigQuery.
        UsageError: the file cannot be written.
        ServiceUnavailable, AccessDenied, LoadRefused: as BigQuery says.
    """
    from jobs.reporting.page.templates import open_template
    from jobs.reporting.report.charts import COLOURS, drawings, require_packages
    from jobs.reporting.report.facts import facts_of

    require_packages()
    views = spec.reported_views
    warehouse = open_warehouse(settings)
    warehouse.ping()
    facts_by_view = [(view, facts_of(warehouse, view, settings.max_bytes_billed)) for view in views]
    missing = [view.name for view, facts in facts_by_view if facts is None]
    if len(missing) == len(facts_by_view):
        raise ObjectNotFound(
            f"{', '.join(missing)} is not in BigQuery",
            pipeline=spec.pipeline,
            fix=f"lakeferry run {spec.pipeline} makes it, once the tables it reads are loaded",
        )
    page = open_template(Path(__file__).parent / "template.html").render(
        title=spec.description or spec.pipeline,
        pipeline=spec.pipeline,
        project=warehouse.address.project,
        at=datetime.now(UTC),
        views=[(view, facts, drawings(facts) if facts else []) for view, facts in facts_by_view],
        colours=COLOURS,
    )
    try:
        to.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the report cannot be written to {to}: {error.strerror}", fix="Name another --to") from None
    return missing
