"""`lakeferry dags`: the DAG files of pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

dags = typer.Typer(no_args_is_help=True, help="Write a DAG file for each pipeline.")


@dags.callback()
def about() -> None:
    """Write a DAG file for each pipeline."""


@dags.command()
def write(
    folder: Annotated[
        Path | None, typer.Argument(help="where the files go; default: generated, beside the folder of pipelines")
    ] = None,
) -> None:
    """Write one DAG file per pipeline, and remove generated files whose pipeline is gone.

    Files that were not generated, or for another folder of pipelines, are left alone. dags/lakeferry.py leaves out the
    pipelines that have a file.
    """
    from jobs.launch.dag_files import write_dag_files
    from jobs.runtime.settings import load_settings

    settings = load_settings()
    target = folder or settings.pipelines.parent / "generated"
    done = write_dag_files(settings.pipelines, target)
    counts = f"{len(done.written)} written, {len(done.unchanged)} unchanged, {len(done.removed)} removed"
    if done.of_others:
        counts += f", {len(done.of_others)} of another folder of pipelines left alone, such as {done.of_others[0]}"
    typer.echo(f"{target}: {counts}")
