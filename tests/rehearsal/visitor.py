"""Somebody at a browser, who uses Airflow's own pages."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import FrameLocator, Locator, Page

# Without named groups: the browser reads it.
RUN = re.compile(r"/dags/[^/]+/runs/([^/?]+)")


@dataclass
class Visitor:
    """
    Does what people do.

    :param page: A window.
    """

    page: Page

    def log_in(self, user: str, password: str) -> None:
        """Come to Airflow's first page."""
        self.page.goto("/")
        self.page.get_by_label("Username").fill(user)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("link", name="Dags", exact=True)).to_be_visible()

    def open_dag(self, dag_id: str) -> None:
        """Find a DAG in the list of all."""
        self.page.get_by_role("link", name="Dags", exact=True).click()
        self.page.get_by_test_id("search-dags").fill(dag_id)
        self.page.get_by_role("link", name=dag_id, exact=True).click()
        expect(self.page.get_by_role("heading", name=dag_id)).to_be_visible()

    def trigger(self, form: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]) -> str:
        """
        Fill in the form of the DAG that is open, and trigger it; return the run's id.

        :param form: What to change in it.
        :param schemas: Of its fields.
        """
        self.page.get_by_test_id("trigger-dag-button").click()
        dialog = self.page.get_by_role("dialog")
        for name, value in form.items():
            self._open_section(dialog, schemas[name].get("section", "Run Parameters"))
            self._fill(dialog, name, value, schemas[name])
        dialog.get_by_test_id("trigger-dag-submit").click()
        expect(dialog).to_be_hidden()
        expect(self.page).to_have_url(RUN)
        return unquote(RUN.search(self.page.url)[1])

    def _open_section(self, dialog: Locator, name: str) -> None:
        heading = dialog.get_by_role("button", name=name, exact=True)
        if heading.get_attribute("aria-expanded") != "true":
            heading.click()
        expect(heading).to_have_attribute("aria-expanded", "true")

    def _fill(self, dialog: Locator, name: str, value: Any, schema: Mapping[str, Any]) -> None:
        field = dialog.locator(f"[name='element_{name}']")
        if isinstance(value, bool):
            if field.is_checked() != value:
                field.locator("xpath=ancestor::label").click()
            expect(field).to_be_checked(checked=value)
        elif isinstance(value, dict):
            self._write(dialog.locator(f"[id='element_{name}']"), json.dumps(value))
        elif isinstance(value, list):
            field.fill("\n".join(value))
        elif "enum" in schema:
            choice = dialog.locator(f"[id='element_{name}'] input").first
            choice.fill(schema["values_display"][value])
            choice.press("Enter")
        else:
            field.fill(str(value))

    def _write(self, editor: Locator, text: str) -> None:
        """Have a text in an editor of code, instead of what is there."""
        editor.click()
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.press("Delete")
        self.page.keyboard.insert_text(text)

    def open_cluster_page(self) -> FrameLocator:
        """Open the page about Dask clusters."""
        self.page.get_by_role("button", name="Browse").click()
        self.page.get_by_role("menuitem", name="Dask cluster").click()
        frame = self.page.frame_locator("iframe")
        expect(frame.get_by_role("heading", name="Dask cluster", level=1)).to_be_visible()
        return frame
