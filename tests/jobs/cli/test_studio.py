"""The Data Studio link, to the letter."""

from __future__ import annotations

import pytest

from connectors.errors import SpecError
from jobs.cli.studio import studio_url
from jobs.runtime.project import CODE_ROOT as CHECKOUT
from jobs.runtime.settings import Settings
from jobs.spec.reader import load_pipeline


def test_the_link_opens_a_report_on_the_view(settings: Settings) -> None:
    spec = load_pipeline(CHECKOUT / "dags" / "pipelines", "payments")
    spec = spec.model_copy(update={"description": "Payments & merchants, 支払い"})
    settings = settings.model_copy(update={"warehouse_project": "my-project"})
    assert studio_url(spec, settings) == (
        "https://lookerstudio.google.com/reporting/create"
        "?c.mode=edit"
        "&r.reportName=Payments%20%26%20merchants%2C%20%E6%94%AF%E6%89%95%E3%81%84"
        "&ds.ds0.connector=bigQuery"
        "&ds.ds0.datasourceName=Payments%20with%20their%20merchant"
        "&ds.ds0.type=TABLE"
        "&ds.ds0.projectId=my-project"
        "&ds.ds0.datasetId=studio"
        "&ds.ds0.tableId=payments"
        "&ds.ds0.refreshFields=true"
    )


def test_a_pipeline_without_views_has_no_report(settings: Settings) -> None:
    spec = load_pipeline(CHECKOUT / "dags" / "pipelines", "payments").model_copy(update={"views": []})
    with pytest.raises(SpecError, match=r"payments\.yaml pipeline payments: this pipeline has no views"):
        studio_url(spec, settings)
