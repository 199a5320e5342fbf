"""A real Chromium: the one that is installed, else Debian's."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import Browser, sync_playwright

from tests import debian

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium", "fonts-liberation", "fonts-dejavu-core")


def find_chromium() -> str:
    """Return its path; where there is none, one is installed, which takes root and Debian."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and debian.can_install():
        debian.install(*PACKAGES)
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
