"""Data Docs: the suites' results for one run, as static pages drawn by Great Expectations' own renderers."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from expectations.gx_context import shared_context

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from expectations.runner import SuiteVerdict

CONTENT_TYPE = "text/html; charset=utf-8"

_INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }} td, th {{ padding: .4rem .8rem; text-align: left }}
tr + tr {{ border-top: 1px solid #ccc }} .failed {{ color: #b00020; font-weight: bold }}
</style></head><body><h1>{title}</h1>
<table><tr><th>{heads}</th></tr>
{rows}
</table></body></html>
"""


def render(*verdicts: SuiteVerdict) -> Mapping[str, bytes]:
    """Returns the pages of one run: `index.html`, and `datasets/<dataset>.html` for each verdict.

    The styles of Great Expectations' pages are fetched from public CDNs by the browser; the text
    reads without them. The pages hold rules, counts and aggregates and no values of rows, because
    the verdicts hold none.

    Args:
        verdicts: of the datasets of one run.

    Returns:
        Pages by path relative to the run's folder.
    """
    shared_context()
    from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    import expectations.gx_expectations  # noqa: F401  the renderers are found by the expectations' names

    pages: dict[str, bytes] = {}
    results = [verdict.result for verdict in verdicts]
    rows = []
    for result in sorted(results, key=lambda one: _batch_of(one)["dataset"]):
        batch = _batch_of(result)
        validation = expectationSuiteValidationResultSchema.load(_for_reading(result))
        page = DefaultJinjaPageView().render(ValidationResultsPageRenderer(run_info_at_end=False).render(validation))
        path = f"datasets/{batch['dataset']}.html"
        pages[path] = str(page).encode()
        counts: Any = result["statistics"]
        rows.append(
            (
                f'<a href="{html.escape(path)}">{html.escape(batch["dataset"])}</a>',
                str(batch["batch"]),
                f"{counts['successful_expectations']} of {counts['evaluated_expectations']}",
                _verdict(bool(result["success"])),
            )
        )
    runs = ", ".join(sorted({str(_batch_of(result)["run_id"]) for result in results}))
    pages["index.html"] = _table(f"Checks of {runs}", ("Dataset", "Batch", "Rules kept", "Verdict"), rows)
    return pages


def _batch_of(result: Mapping[str, Any]) -> dict[str, Any]:
    batch: dict[str, Any] = result["meta"]["lakeferry"]
    return batch


def _for_reading(result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the result without what no reader needs: Great Expectations' ids and its empty exception records."""
    batch = _batch_of(result)
    outcomes = []
    for outcome in result["results"]:
        config = outcome["expectation_config"]
        kwargs = {key: value for key, value in config["kwargs"].items() if key not in ("batch_id", "value_type")}
        outcomes.append({**outcome, "expectation_config": {**config, "kwargs": kwargs, "meta": {}}})
    meta = {
        "great_expectations_version": result["meta"]["great_expectations_version"],
        "run_id": {"run_name": batch["run_id"], "run_time": _validated_at(result)},
        "batch_spec": {},
        "batch_markers": {},
        "active_batch_definition": {"data_asset_name": batch["dataset"]},
    }
    return {**result, "results": outcomes, "meta": meta}


def _validated_at(result: Mapping[str, Any]) -> str:
    return str(_batch_of(result)["validated_at"])


def _verdict(passed: bool) -> str:
    return "passed" if passed else '<span class="failed">failed</span>'


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    body = "\n".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows)
    return _INDEX.format(title=html.escape(title), heads="</th><th>".join(heads), rows=body).encode()
