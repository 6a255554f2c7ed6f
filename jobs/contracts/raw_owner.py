"""Whose raw table it is: that of the pipeline that published its newest batch.

A raw table is known by the name of its dataset alone. A pipeline that declares a name which another one used before
would go on at that one's position, over rows of another source.
"""

from __future__ import annotations

from collections.abc import Sequence

from connectors.errors import SpecError
from jobs.lake.batch_log import PublishedBatch
from jobs.spec.models import PipelineSpec


def check_owner(spec: PipelineSpec, dataset: str, published: Sequence[PublishedBatch]) -> None:
    """Check that a dataset's published batches are the pipeline's own, or those of a pipeline it takes over.

    Batches from before their pipeline was recorded may be anybody's.

    Args:
        published: the batches of the dataset's raw table, oldest first.

    Raises:
        SpecError: the newest batch that names a pipeline names another one.
    """
    newest = next((batch for batch in reversed(published) if batch.pipeline is not None), None)
    if newest is None or newest.pipeline in (spec.pipeline, *spec.takes_over):
        return
    raise SpecError(
        f"raw.{dataset} belongs to pipeline {newest.pipeline}, which published it up to batch {newest.batch}: this "
        "pipeline would continue from its position",
        fix="Give the dataset a name of its own. If it was moved here on purpose, or the pipeline was renamed, add "
        f"takes_over: [{newest.pipeline}] to {spec.file or 'this pipeline'}",
        key=("name",),
    )
