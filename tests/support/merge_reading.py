"""The MERGE a load sends, read back by parsing it."""

from __future__ import annotations

import json
from collections.abc import Callable

import sqlglot
from sqlglot import exp

from tests.support.faulty_endpoint import Answer, endpoint
from tests.support.load_world import World


def merges_of(world: World, run_id: str = "") -> list[exp.Expression]:
    """The MERGE statements a load sends, as trees."""
    sent: list[exp.Expression] = []

    def listen(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        if b"COMMIT TRANSACTION" in body:
            script = json.loads(body)["configuration"]["query"]["query"]
            trees = sqlglot.parse(script, dialect="bigquery")
            sent.extend(tree for tree in trees if isinstance(tree, exp.Merge))
        return forward()

    with endpoint(str(world.settings.warehouse_endpoint), listen) as address:
        world.load(run_id, settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    return sent


def days_in(merge: exp.Expression, column: str) -> list[tuple[str, str]]:
    """[first day, day after the last) of each range of T.column in the ON clause, which must hold literals only."""
    ranges = []
    for both in merge.args["on"].find_all(exp.And):
        low, high = both.this, both.expression
        if isinstance(low, exp.GTE) and isinstance(high, exp.LT):
            assert {low.this.sql("bigquery"), high.this.sql("bigquery")} == {f"T.`{column}`"}
            assert not list(low.expression.find_all(exp.Column, exp.Select))
            ranges.append((low.expression.find(exp.Literal).this, high.expression.find(exp.Literal).this))
    return sorted(ranges)
