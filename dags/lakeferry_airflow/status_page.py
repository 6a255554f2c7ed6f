"""The DAG that draws the status page of all pipelines from the summaries their runs leave.

The clock starts it, and not the assets of datasets: a run that fails has no asset event and must be on the page, and a
dataset becomes late without any run. With a thousand pipelines the events of an hour would also start a thousand
drawings.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator, DeltaTriggerTimetable

from jobs.reporting.page import page_note
from jobs.runtime.settings import load_settings
from jobs.spec.airflow_options import AirflowOptions
from jobs.spec.consistency import PAGE_DAG
from lakeferry_airflow.bundle import settings_beside
from lakeferry_airflow.dag_names import dag_id_of
from lakeferry_airflow.messages import as_airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

    from jobs.runtime.settings import Settings

_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
_LONGEST = timedelta(minutes=30)
# The owner of a pipeline that names none: a person who filters DAGs by it sees the page among them.
_OWNER = AirflowOptions().owner
_DOCUMENTATION = """Draws the status page of all pipelines from the summaries that their runs leave when they are
planned and when they end. `LAKEFERRY_PAGE_MINUTES` says how often. With 0 this DAG is not there, and `lakeferry page`
draws the page when somebody asks for it.

"""


class DrawPage(BaseOperator):
    """Draws the page of the pipelines in a folder into the lake; its addresses are in the log."""

    def __init__(self, *, pipelines: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipelines = pipelines

    def execute(self, context: Context) -> None:
        # Imported here: parsing a DAG draws no page.
        from jobs.reporting.page import write_page

        with as_airflow_errors():
            settings = load_settings().model_copy(update={"pipelines": Path(self.pipelines)})
            for place in write_page(settings):
                self.log.info("%s", place)


def page_dags(dag_file: str) -> dict[str, DAG]:
    """The DAG by its id; none where the settings say that Airflow draws no page.

    Args:
        dag_file: `__file__` of the DAG file.
    """
    settings = settings_beside(dag_file)
    return {dag_id_of(PAGE_DAG, settings): page_dag(settings)} if settings.page_minutes else {}


def page_dag(settings: Settings) -> DAG:
    """Return the DAG of the page. It begins unpaused for any value of `LAKEFERRY_DAGS_PAUSED`: it moves no data, and
    nobody looks for a page in the list of paused DAGs. `LAKEFERRY_SCHEDULES` is about pipelines, and does not stop it
    either."""
    with DAG(
        dag_id=dag_id_of(PAGE_DAG, settings),
        description="Draws the status page of all pipelines",
        schedule=DeltaTriggerTimetable(timedelta(minutes=settings.page_minutes)),
        start_date=_BEGINNING,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        dagrun_timeout=_LONGEST,
        tags=["lakeferry"],
        doc_md=_DOCUMENTATION + page_note(settings),
        default_args={"owner": _OWNER},
    ) as dag:
        # The next run draws the same page: a retry would only be in its way.
        DrawPage(
            task_id="draw",
            pipelines=str(settings.pipelines),
            retries=0,
            execution_timeout=_LONGEST,
            doc_md=_DOCUMENTATION,
        )
    return dag
