"""The status page as a person sees it: in Chromium, on a phone and at a desk, by day and by night, in two languages."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from jobs.reporting.page import write_page
from tests.support.browser import DESK, PHONE, look, picture
from tests.support.page_world import PageWorld

pytestmark = pytest.mark.browser

LONG = "nobody_breaks_this_word_" * 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lake's pages: one dataset of everything a page can hold, with words nobody breaks."""
    world = PageWorld.at(tmp_path_factory.mktemp("page") / "world")
    world.pipeline("payments", "payments", "merchants", schedule="@hourly")
    world.pipeline("refunds", "refunds")
    for number in range(1, 12):
        world.run(
            "payments", "payments", f"run {number}", hours_ago=12 - number,
            published=1_234_567 if number == 11 else number, quarantined=3, batch=number, bytes_loaded=10**number,
        )  # fmt: skip
    world.receipt("payments", "merchants", LONG, "plan", 0.5)
    world.receipt("payments", "merchants", LONG, "extract", 0.5, "failed", error=f"merchants: {LONG}", exit_code=1)
    world.set_aside("payments", [("run 11", 11, f"amount > 0 is not so: {LONG}", "{}")] * 33)
    (world.folder / "pipelines" / "broken.yaml").write_text(f"pipeline: {LONG}", encoding="utf-8")
    write_page(world.settings)
    return world.folder / "lake" / "page"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("name", ["index.html", "ja.html"])
def test_nothing_is_wider_than_the_screen_and_all_text_can_be_read(
    folder: Path, tmp_path: Path, name: str, width: int, dark: bool
) -> None:
    seen = look(folder / name, tmp_path, width, dark=dark)
    assert seen["inner"] == width
    for state in ("closed", "opened"):
        assert seen[state]["width"] == width
        assert seen[state]["beyond"] == []
    contrast, where = seen["faintest"]
    assert contrast >= 4.5, f"WCAG 2.2, 1.4.3: {where}"
    assert seen["ground"] == ("rgb(18, 22, 28)" if dark else "rgb(246, 247, 249)")


def test_a_person_sees_what_failed_first_and_the_numbers_when_asked(folder: Path, tmp_path: Path) -> None:
    seen = look(folder / "index.html", tmp_path, PHONE)
    closed, opened = seen["closed"]["text"], seen["opened"]["text"]
    order = [closed.index(word) for word in ("✕ 1 failed", "broken.yaml", "\nmerchants\n", "✕ failed", "\npayments\n")]
    assert order == sorted(order)
    assert "Rows in curated\n1,234,567" in closed
    assert "amount > 0 is not so" in closed
    assert "10.0 GB" not in closed
    assert "10.0 GB" in opened
    assert opened.count(LONG) > closed.count(LONG)


def test_a_person_reads_the_same_in_japanese(folder: Path, tmp_path: Path) -> None:
    seen = look(folder / "ja.html", tmp_path, DESK)["closed"]["text"]
    for words in ("✕ 1 失敗", "データセット", "curated の行数\n1,234,567", "✓ 最新", "隔離された行"):
        assert words in seen


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_a_picture_can_be_taken_of_it(folder: Path, tmp_path: Path, width: int) -> None:
    body = picture(folder / "index.html", tmp_path, width).read_bytes()
    assert struct.unpack(">II", body[16:24]) == (width, 2400)
