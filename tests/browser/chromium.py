"""A real Chromium: the one that is installed, else Debian's."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import Browser, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium", "fonts-liberation", "fonts-dejavu-core")


def find_chromium() -> str:
    """Return its path; where there is none, one is installed, which takes root and Debian."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
            subprocess.run(["apt-get", "--quiet", *command], check=True, timeout=900, env=environment)
        found = shutil.which("chromium")
    if found is None:
        raise FileNotFoundError(f"The browser tests need Chromium: none of {', '.join(NAMES)} is on PATH")
    return found


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Start it, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium())
        try:
            yield browser
        finally:
            browser.close()
