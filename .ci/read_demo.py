"""Read the tables `make demo` prints: six datasets, twice, every one reconciled, and the second moved less."""

import re
import sys
from pathlib import Path

DATASETS = {"payments", "merchants", "balance_entries", "app_events", "settlements", "daily_merchant_sales"}


def tables(text: str) -> list[dict[str, list[str]]]:
    """Rows of each table by dataset name; a table begins where its header row says `dataset`."""
    found: list[dict[str, list[str]]] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split("[│┃|]", line)[1:-1]]
        if cells and cells[0] == "dataset":
            found.append({})
        elif cells and cells[0] in DATASETS and found:
            found[-1][cells[0]] = cells[1:]
    return found


def main() -> int:
    found = tables(Path(sys.argv[1]).read_text(encoding="utf-8"))
    assert len(found) == 2, f"{len(found)} tables, not two"
    reads = []
    for table in found:
        assert set(table) == DATASETS, f"datasets {sorted(table)}"
        for dataset, (source, read, published, quarantined, replaced, warehouse, reconciled) in table.items():
            assert reconciled == "yes", f"{dataset} is not reconciled"
            count = {
                name: int(value.replace(",", ""))
                for name, value in zip(
                    "srpqxw", (source, read, published, quarantined, replaced, warehouse), strict=True
                )
            }
            assert count["r"] == count["p"] + count["q"], f"{dataset}: {count}"
            assert count["r"] > 0, f"{dataset}: nothing was read"
            before = 0 if not reads else int(found[0][dataset][5].replace(",", ""))
            assert count["w"] == before + count["p"] - count["x"], f"{dataset}: {count}"
            assert count["w"] > 0, f"{dataset}: nothing in the warehouse"
        reads.append(sum(int(row[1].replace(",", "")) for name, row in table.items() if name != "daily_merchant_sales"))
    assert 0 < reads[1] < reads[0] / 2, f"the second run read {reads[1]} rows, the first {reads[0]}"
    print(f"demo: {reads[0]} rows, then {reads[1]}, all reconciled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
