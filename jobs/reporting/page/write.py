"""Where the status page goes: into the lake, or into a file of somebody's own; and the summaries it is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from connectors.errors import LakeferryError, UsageError
from jobs.lake.documents import Documents, open_documents
from jobs.runs.receipts import Receipt
from jobs.runtime.events import event
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec

ENGLISH_KEY, JAPANESE_KEY = "page/index.html", "page/ja.html"
_HTML = "text/html; charset=utf-8"
_TRIES = 3


def write_page(settings: Settings, to: Path | None = None, *, rebuild: bool = False) -> list[str]:
    """Write the page in English and in Japanese; return where the two are.

    Args:
        to: a file for the English page, the Japanese one comes beside it (`status.html`, `status.ja.html`);
            None: into the lake.
        rebuild: read receipts and tables, not the summaries of runs; a page for the lake writes new summaries.

    Raises:
        UsageError: the file cannot be written.
        LakeferryError: the lake does not answer.
    """
    documents = open_documents(settings.lake)
    if to is None:
        return _into_lake(settings, documents, rebuild)
    other = to.with_suffix(f".ja{to.suffix}")
    english, japanese = _pages(settings, documents, (to.name, other.name), rebuild, in_lake=False)
    try:
        to.write_bytes(english)
        other.write_bytes(japanese)
    except OSError as error:
        raise UsageError(f"the page cannot be written to {to}: {error.strerror}", fix="Name another --to") from None
    return [str(to), str(other)]


def leave_summary(
    spec: PipelineSpec,
    run_id: str,
    settings: Settings,
    receipts: Sequence[Receipt] | None = None,
    *,
    ended: bool = True,
    warn: Callable[[str], None] | None = None,
) -> None:
    """Leave the summary of a run for the page. What goes wrong is reported as a warning and stops nothing.

    Args:
        receipts: those of the run, where they are read already.
        ended: false for a run that is only planned.
        warn: takes the warning; None: it is an event.
    """
    try:
        from jobs.reporting.page.summarize import summarize_run

        summarize_run(spec, run_id, settings, receipts, ended=ended)
    except Exception as error:  # noqa: BLE001 - a page that cannot be drawn must not fail a run that has delivered
        (warn or _warning)(_not_up_to_date(error))


def refresh_page(settings: Settings) -> None:
    """Write the page into the lake after a run; what goes wrong is reported as a warning and stops nothing."""
    try:
        write_page(settings)
    except Exception as error:  # noqa: BLE001 - as above
        _warning(_not_up_to_date(error))


def _not_up_to_date(error: Exception) -> str:
    # The text of an error that is not ours may hold anything.
    why = str(error) if isinstance(error, LakeferryError) else type(error).__name__
    return f"the status page is not up to date: {why}"


def _warning(text: str) -> None:
    event("warning", stage="page", warning=text)


def page_note(settings: Settings) -> str:
    """One line of Markdown that says where the page is: a link where the lake is a folder of this machine."""
    uri = f"{settings.lake.rstrip('/')}/{ENGLISH_KEY}"
    if urlsplit(uri).scheme == "file":
        return f"Status page: [{unquote(urlsplit(uri).path)}]({uri})"
    return f"Status page: `{uri}`; `lakeferry page --to status.html` writes it to a file here."


def _into_lake(settings: Settings, documents: Documents, rebuild: bool) -> list[str]:
    for _ in range(_TRIES):
        before = documents.written(ENGLISH_KEY)
        pages = _pages(settings, documents, (ENGLISH_KEY, JAPANESE_KEY), rebuild, in_lake=True)
        newer = documents.written(ENGLISH_KEY) != before
        for key, body in zip((ENGLISH_KEY, JAPANESE_KEY), pages, strict=True):
            documents.put(key, body, _HTML)
        # A run that wrote its page while this one was drawn may know what this one does not.
        if not newer:
            break
    return [documents.uri(key) for key in (ENGLISH_KEY, JAPANESE_KEY)]


def _pages(
    settings: Settings, documents: Documents, names: tuple[str, str], rebuild: bool, *, in_lake: bool
) -> tuple[bytes, bytes]:
    from jobs.reporting.page.facts import gather
    from jobs.reporting.page.render import Links, render

    facts = gather(settings, datetime.now(UTC), rebuild=rebuild, keep=in_lake)
    links = Links(documents, in_lake=in_lake)
    english, japanese = (name.rsplit("/", 1)[-1] for name in names)
    return (
        render(facts, "en", links, other_page=japanese).encode(),
        render(facts, "ja", links, other_page=english).encode(),
    )
