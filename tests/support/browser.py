"""Headless Chromium: what a person would see of a page, in words, and a picture of it."""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

CHROMIUM = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
PHONE, DESK = 390, 1280
# Written into a copy of the page: it looks at the page as it is laid out, closed and with all details opened.
_LOOK = """
<script>
function seen() {
  const wide = [...document.querySelectorAll("body *")].filter(e =>
    !e.closest(".wide") && e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 80));
  return {width: document.documentElement.scrollWidth, beyond: wide, text: document.body.innerText};
}
function light(colour) {
  const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function ground(e) {
  const colour = getComputedStyle(e).backgroundColor;
  return colour === "rgba(0, 0, 0, 0)" && e.parentElement ? ground(e.parentElement) : colour;
}
function faintest() {
  const texts = [...document.querySelectorAll("body *")].filter(e =>
    [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.getClientRects().length);
  const found = texts.map(e => {
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 80)];
  });
  return found.sort((a, b) => a[0] - b[0])[0];
}
const closed = seen();
document.querySelectorAll("details").forEach(e => { e.open = true });
const report = {inner: innerWidth, closed, opened: seen(), faintest: faintest(),
  ground: getComputedStyle(document.body).backgroundColor};
const said = parent.document.createElement("template");
said.dataset.report = encodeURIComponent(JSON.stringify(report));
parent.document.body.append(said);
</script>
"""
# Chromium's windows are 500 wide at least, a frame is as wide as a phone.
_FRAME = """<!doctype html><meta name="color-scheme" content="light dark"><body style="margin: 0">
<iframe style="border: 0; width: {width}px; height: 2400px" srcdoc="{page}"></iframe></body>"""


def look(page: Path, folder: Path, width: int, *, dark: bool = False) -> dict[str, Any]:
    """What is seen of the page at this width: `closed` and, with all details open, `opened`, each with `text`,
    `width` (of the whole page) and `beyond` (what reaches over the edge); `faintest` text with its contrast."""
    # The page forbids every script; the copy lets this one in.
    text, forbidden = re.subn(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", page.read_text("utf-8"))
    assert forbidden == 1
    frame = folder / f"look-{page.name}"
    inner = html.escape(text.replace("</body>", f"{_LOOK}</body>"))
    frame.write_text(_FRAME.format(width=width, page=inner), encoding="utf-8")
    done = _run(folder, max(width, 500), dark, "--dump-dom", frame.as_uri())
    found = re.search(r'<template data-report="([^"]*)"', done)
    assert found, done[-2000:]
    report: dict[str, Any] = json.loads(unquote(found.group(1)))
    return report


def picture(page: Path, folder: Path, width: int, *, dark: bool = False) -> Path:
    """A screenshot of the page's top, light or dark."""
    file = folder / f"{page.stem}-{width}-{'dark' if dark else 'light'}.png"
    _run(folder, width, dark, f"--screenshot={file}", page.as_uri())
    return file


def _run(folder: Path, width: int, dark: bool, *arguments: str) -> str:
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    own = f"--user-data-dir={folder / 'chromium'}"
    command = [*CHROMIUM, own, scheme, f"--window-size={width},2400", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
