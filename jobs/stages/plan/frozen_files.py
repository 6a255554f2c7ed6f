"""Reads the files of a pipeline's rules and views, so that its plan holds what later stages prove and create."""

from __future__ import annotations

from functools import cached_property

from connectors.errors import SpecError
from connectors.yaml.text_files import read_text
from jobs.contracts.rules import freeze_rules
from jobs.runs.plan_document import Failure, FrozenView
from jobs.runtime.events import event
from jobs.runtime.settings import Settings
from jobs.spec.frozen_file import FrozenFile
from jobs.spec.models import DatasetSpec, PipelineSpec, ViewSpec


class PipelineFiles:
    """The files of one pipeline as they are when they are first asked for."""

    def __init__(self, spec: PipelineSpec, settings: Settings) -> None:
        self._spec = spec
        self._settings = settings

    @cached_property
    def views(self) -> tuple[FrozenView, ...]:
        """The pipeline's views. A broken one keeps no dataset from moving: it is reported here, and again by load,
        which leaves its receipt."""
        return tuple(self._frozen(view) for view in self._spec.views)

    def rules_of(self, dataset: DatasetSpec) -> FrozenFile | None:
        """The file of a dataset's rules; None without expectations, or if the file cannot be read."""
        try:
            return freeze_rules(self._settings.expectations, dataset)
        except SpecError:
            return None

    def _frozen(self, view: ViewSpec) -> FrozenView:
        # Only pipelines with views pay for the import of the SQL parser.
        from jobs.contracts.view_sql import check_view_sql

        frozen = FrozenView(name=view.name, description=view.description)
        try:
            sql = FrozenFile.of(view.sql, read_text(self._settings.pipelines / view.sql))
            frozen = frozen.model_copy(update={"sql": sql})
            check_view_sql(sql.text, sql.name, self._spec.pipeline)
        except SpecError as error:
            error.located(pipeline=self._spec.pipeline)
            event("warning", stage="plan", view=view.name, warning=f"load cannot create view {view.name}: {error}")
            failure = Failure.of(error)
            return frozen.model_copy(update={"failure": failure})
        return frozen
