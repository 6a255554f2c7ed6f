"""A dataset that cannot take part fails or is skipped alone: broken views at the source, windows it cannot take."""

from __future__ import annotations

from datetime import timedelta

from connectors.base import Window
from tests.e2e.ferry import Ferry, OwnDatabase, events_of

KEYED = "primary_key: [id], write_disposition: merge"


def _spec(ferry: Ferry, name: str, datasets: dict[str, str]) -> str:
    """A pipeline of these datasets (name → keys in YAML), one a line from line 4; returns the BigQuery dataset."""
    target = ferry.warehouse_dataset()
    lines = [f"pipeline: {name}", "source: {type: aurora, connection: aurora_payments}", "datasets:"]
    lines += [
        f"  - {{name: {dataset}, {keys}, bigquery: {{table: {target}.{dataset}}}}}"
        for dataset, keys in datasets.items()
    ]
    ferry.spec("\n".join(lines) + "\n")
    return target


def test_a_view_without_its_table_or_definer_fails_alone(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, database = f"v_{aurora.name}", aurora.name
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    aurora.insert("t", [(1, 10), (2, 20)])
    aurora.execute("CREATE TABLE gone LIKE t")
    aurora.execute("CREATE VIEW w AS SELECT * FROM gone")
    aurora.execute("DROP TABLE gone")
    aurora.execute("CREATE FUNCTION f() RETURNS INT BEGIN SIGNAL SQLSTATE '45000'; RETURN 1; END")
    aurora.execute("CREATE VIEW fails AS SELECT * FROM t WHERE id = f()")
    user = f"'{database[-12:]}'@'%'"
    aurora.execute(f"CREATE USER {user}")
    aurora.execute(f"GRANT SELECT ON {database}.* TO {user}")
    aurora.execute(f"CREATE DEFINER={user} SQL SECURITY DEFINER VIEW orphan AS SELECT * FROM t")
    aurora.execute(f"DROP USER {user}")
    target = _spec(
        ferry,
        name,
        {
            f"w_{database}": f"table: {database}.w, write_disposition: replace",
            f"k_{database}": f"table: {database}.w, {KEYED}",
            f"o_{database}": f"table: {database}.orphan, {KEYED}",
            f"fails_{database}": f"table: {database}.fails, {KEYED}",
            f"rules_{database}": f"table: {database}.t, {KEYED}, expectations: {name}",
            f"good_{database}": f"table: {database}.t, {KEYED}",
        },
    )
    rules = "rows:\n  - expect_column_values_to_not_be_null: {column: 売上}\n"
    (ferry.folder / "expectations" / f"{name}.yaml").write_bytes(rules.encode("cp932"))
    planned = ferry.cli("plan", name)
    assert planned.returncode == 3, planned.stderr
    for line, dataset, cause in (
        (4, f"w_{database}", f"{database}.w cannot be read"),
        (5, f"k_{database}", f"{database}.w cannot be read"),
        (6, f"o_{database}", f"{database}.orphan cannot be read"),
        (7, f"fails_{database}", "failed with error 1644"),
    ):
        [said] = [text for text in planned.stderr.splitlines() if f"dataset {dataset}:" in text]
        assert said.startswith(f"{name}.yaml:{line} pipeline {name} dataset {dataset}: ")
        assert cause in said
    assert f"{name}.yaml:2 pipeline {name} dataset rules_{database}: the file is not UTF-8" in planned.stderr
    assert "1356" in planned.stderr
    assert "1449" in planned.stderr

    ran = ferry.run(name)
    assert ran.code == 3, "the error of the function may pass"
    assert {entry.name[:1]: entry.state for entry in ran.plan.datasets} == {
        "w": "failed",
        "k": "failed",
        "o": "failed",
        "f": "failed",
        "r": "failed",
        "g": "planned",
    }
    rows = ferry.warehouse_rows(f"{target}.good_{database}", "id, v")
    assert sorted((row["id"], row["v"]) for row in rows) == [(1, 10), (2, 20)]

    # A server that does not answer at all fails the plan itself, and nothing is begun.
    down = ferry.cli("run", name, "--run-id", "down", AIRFLOW_CONN_AURORA_PAYMENTS="mysql://u:p@127.0.0.1:1/")
    assert down.returncode == 3
    assert len([line for line in down.stderr.splitlines() if "does not answer" in line]) == 1
    assert ferry.receipts(name, "down") == []


def test_a_dataset_that_cannot_take_a_window_is_skipped_alone(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, database = f"b_{aurora.name}", aurora.name
    payments, countries, events = (f"{kind}_{database}" for kind in ("payments", "countries", "events"))
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, updated_at DATETIME(6) NOT NULL, KEY (updated_at))")
    aurora.insert("t", [(1, "2026-11-01 12:00:00"), (2, "2026-11-02 12:00:00")])
    target = _spec(
        ferry,
        name,
        {
            payments: f"table: {database}.t, {KEYED}, cursor: updated_at, lag_seconds: 1",
            countries: f"table: {database}.t, write_disposition: replace",
            events: f"table: {database}.t, {KEYED}, cursor: id, lag_seconds: 1",
        },
    )
    times = ("--start", "2026-11-01T00:00:00Z", "--end", "2026-11-02T00:00:00Z")

    planned = ferry.cli("plan", name, *times)
    assert planned.returncode == 0, planned.stderr
    for line, dataset, cause in ((5, countries, "it has no cursor"), (6, events, "its cursor id is a number")):
        [said] = [text for text in planned.stdout.splitlines() if f"dataset {dataset}:" in text]
        assert "skipped" in said
        assert f"{name}.yaml:{line} pipeline {name} dataset {dataset}: " in said
        assert cause in said

    # The command runs stages in a Spark of their own; here they run in this process.
    ran = ferry.run(name, window=Window(start="2026-11-01T00:00:00Z", end="2026-11-02T00:00:00Z"))
    assert ran.code == 0
    assert [entry.state for entry in ran.plan.datasets] == ["planned", "skipped", "skipped"]
    assert [row["id"] for row in ferry.warehouse_rows(f"{target}.{payments}", "id")] == [1]
    skipped = ran.receipt("plan", countries)
    assert skipped.verdict == "skipped"
    assert f"{name}.yaml:5 " in str(skipped.details.reason)
    assert [receipt.stage for receipt in ran.receipts if receipt.dataset == countries] == ["plan"]
    shown = ferry.cli("status", name)
    assert shown.returncode == 0
    [line] = [text for text in shown.stdout.splitlines() if countries in text]
    assert "never run" in line

    # A window of numbers is one for the dataset with the number, and nothing is skipped without a word.
    numbers = ferry.plan(name, "numbers", Window(start="1", end="2"))
    assert [entry.state for entry in numbers.datasets] == ["skipped", "skipped", "planned"]

    # Where nobody can take it, or where it was asked of one by name, it is an error, and nothing is begun.
    for dataset in (countries, events):
        alone = ferry.cli("plan", name, *times, "--dataset", dataset)
        assert alone.returncode == 2
        assert f"dataset {dataset}: " in alone.stderr
    both = ferry.cli("plan", name, *times, "--dataset", payments, "--dataset", countries)
    assert both.returncode == 2
    assert f"{name}.yaml:5 pipeline {name} dataset {countries}: " in both.stderr
    assert f"--dataset {payments}" in both.stderr
    assert f'{{"datasets": ["{payments}"]}}' in both.stderr

    # A window that makes no sense at all stops the plan, as before.
    wrong = ferry.cli("plan", name, "--start", "yesterday")
    assert wrong.returncode == 2
    assert "'yesterday' is not an ISO 8601 time" in wrong.stderr
    assert events_of(wrong) == []


def test_a_dataset_whose_open_window_is_empty_is_skipped_alone(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, database = f"e_{aurora.name}", aurora.name
    fast, slow, days, low, high = (f"{kind}_{database}" for kind in ("fast", "slow", "days", "low", "high"))
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, updated_at DATETIME(6), day DATE, KEY (updated_at), KEY (day))")
    aurora.execute("CREATE TABLE later LIKE t")
    now = aurora.now()
    aurora.insert("t", [(1, now - timedelta(minutes=10), now.date()), (2, now - timedelta(days=2), now.date())])
    aurora.insert("later", [(5000, now, now.date())])
    aurora.settle()
    _spec(
        ferry,
        name,
        {
            fast: f"table: {database}.t, {KEYED}, cursor: updated_at, lag_seconds: 1",
            slow: f"table: {database}.t, {KEYED}, cursor: updated_at, lag_seconds: 86400",
            days: f"table: {database}.t, {KEYED}, cursor: day, lag_seconds: 1",
            low: f"table: {database}.t, {KEYED}, cursor: id, lag_seconds: 1",
            high: f"table: {database}.later, {KEYED}, cursor: id, lag_seconds: 1",
        },
    )
    an_hour_ago = f"{(now - timedelta(hours=1)).isoformat()}Z"
    plan = ferry.plan(name, "an-hour", Window(start=an_hour_ago, end=None))
    states = {entry.name: entry.state for entry in plan.datasets}
    assert states == {fast: "planned", slow: "skipped", days: "skipped", low: "skipped", high: "skipped"}
    reason = str(plan.dataset(slow).reason)
    assert f"{name}.yaml:5 pipeline {name} dataset {slow}: window start {an_hour_ago} is not before " in reason
    assert "the server's clock less lag_seconds (86400). Give an earlier start" in reason

    # Today is no whole day yet.
    today = f"{now.date().isoformat()}T00:00:00Z"
    plan = ferry.plan(name, "today", Window(start=today, end=None))
    assert {plan.dataset(dataset).state for dataset in (slow, days)} == {"skipped"}
    assert f"window start {today} is not before {now.date().isoformat()}, where" in str(plan.dataset(days).reason)
    assert plan.dataset(fast).state != "skipped"

    # While a transaction is open that may commit a lower number, no number is settled.
    writer = OwnDatabase("aurora_payments")
    try:
        writer.execute(f"USE {database}")
        writer.execute("BEGIN")
        writer.execute("INSERT INTO t VALUES (3, NULL, NULL)")
        aurora.settle(beside=writer)
        held = ferry.cli("plan", name, "--start", "2", "--dataset", low, "--dataset", high)
    finally:
        writer.close()
    assert held.returncode == 2
    assert "a window from 2 has no end yet: nothing is read: a transaction is open since" in held.stderr
    plan = ferry.plan(name, "numbers", Window(start="2", end=None))
    assert (plan.dataset(low).state, plan.dataset(high).state) == ("planned", "planned")

    # It is an error where it was named, where nothing fits, and where the user gave both bounds.
    named = ferry.cli("plan", name, "--start", an_hour_ago, "--dataset", fast, "--dataset", slow)
    assert named.returncode == 2
    assert f"dataset {slow}: window start {an_hour_ago} is not before" in named.stderr
    assert f"--dataset {fast}" in named.stderr
    nothing = ferry.cli("plan", name, "--start", "2999-01-01T00:00:00Z")
    assert nothing.returncode == 2
    assert events_of(nothing) == []
    both = ferry.cli("plan", name, "--start", an_hour_ago, "--end", "2026-01-01T00:00:00Z")
    assert both.returncode == 2
    assert "is not before its end 2026-01-01T00:00:00Z" in both.stderr
    assert events_of(both) == []
