"""The link that opens a Data Studio report on a pipeline's curated views."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec

CREATE = "https://lookerstudio.google.com/reporting/create"


def studio_url(spec: PipelineSpec, settings: Settings) -> str:
    """An address that opens a new report with one data source a view of the pipeline.

    Parameters are those of the Linking API ("Linking API", "BigQuery connector" in Data Studio's
    developer documentation): `c.` controls the report, `r.` names it, `ds.ALIAS.` describes a source.

    Raises:
        SpecError: the pipeline has no views.
    """
    views = spec.reported_views
    parameters = {"c.mode": "edit", "r.reportName": spec.description or spec.pipeline}
    for index, view in enumerate(views):
        dataset, table = view.name.split(".")
        source = {
            "connector": "bigQuery",
            "datasourceName": view.description or view.name,
            "type": "TABLE",
            "projectId": settings.warehouse_project,
            "datasetId": dataset,
            "tableId": table,
            # Fields are read from the view as it is now, not from what a template once saw.
            "refreshFields": "true",
        }
        parameters |= {f"ds.ds{index}.{key}": value for key, value in source.items()}
    return f"{CREATE}?{urlencode(parameters, quote_via=quote)}"
