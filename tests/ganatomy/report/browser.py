"""A headless Chromium that shows a page, and tells what a script in it found."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--virtual-time-budget=2000",
)


def chromium(folder: Path, page: Path, *options: str) -> str:
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={folder / 'profile'}", *options]
    done = subprocess.run(
        [*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def dump(folder: Path, page: Path) -> str:
    """The page's DOM after its own script ran."""
    return chromium(folder, page, "--dump-dom")


def ask(folder: Path, page: Path, script: str, width: int = 1200):
    """What `script` returns inside a window of `width` pixels.

    Chromium's own window is never narrower than about 500 pixels, so the page stands in a frame.
    """
    html = page.read_text(encoding="utf-8")
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    said = f"<script>parent.postMessage(JSON.stringify((() => {{{script}}})()), '*')</script>"
    copy = folder / "copy.html"
    copy.write_text(html.replace("</body>", said + "</body>"), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(
        f"<title></title><script>onmessage = (e) => {{ document.title = e.data; }}</script>"
        f'<iframe src="{copy.as_uri()}" width="{width}" height="900" style="border:0"></iframe>'
    )
    title = re.search(r"<title>(.*?)</title>", dump(folder, frame), re.DOTALL)
    assert title, "the page said nothing"
    assert title[1], "the page said nothing"
    return json.loads(unescape(title[1]))


def screenshot(folder: Path, page: Path, dark: bool) -> np.ndarray:
    """The top of the page as pixels, [H, W, 3]."""
    file = folder / "shot.png"
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    chromium(folder, page, scheme, f"--screenshot={file}", "--window-size=800,600")
    return np.asarray(Image.open(file).convert("RGB"))
