"""Who may see the page, who may drain a worker from it, and how that goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.site import PATH, open_page, rows

if TYPE_CHECKING:
    from playwright.sync_api import Page

HEADER = {"X-Requested-With": "airflow-eks-dask"}


def first_worker(page: Page) -> str:
    """Return the address of a worker that runs a task of the DAG ``held``."""
    row = rows(page, "Workers of the embedded cluster").filter(has_text="held.hold").first
    return row.locator("th .faint").inner_text()


class TestDrain:
    """With a button, by those who may."""

    @pytest.mark.parametrize("user", ["admin", "op"])
    def test_a_worker_is_drained_and_taken_back(self, site, held, user, photograph):
        page = open_page(site.visitor(user))
        address = first_worker(page)
        row = rows(page, "Workers of the embedded cluster").filter(has_text=address)
        row.get_by_role("button", name="Drain worker").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text(f"{address} takes no new tasks, finishes the")
        photograph(page, "ui-drain")

        dialog.get_by_role("button", name="Cancel").click()
        expect(dialog).to_be_hidden()
        expect(row.get_by_text("running", exact=True)).to_be_visible()

        row.get_by_role("button", name="Drain worker").click()
        dialog.get_by_role("button", name="Drain it").click()
        expect(row.get_by_text("draining", exact=True)).to_be_visible()
        history = rows(page, "Recent moves and faults")
        expect(history.first).to_contain_text(f"Worker {address} drains")
        expect(history.first).to_contain_text(f"asked for by {user}")

        row.get_by_role("button", name="Keep worker").click()
        dialog.get_by_role("button", name="Keep it").click()
        expect(row.get_by_text("running", exact=True)).to_be_visible()
        expect(history.first).to_contain_text(f"Worker {address} serves again")

    def test_with_the_keyboard_alone(self, site, held):
        page = open_page(site.visitor("admin"))
        address = first_worker(page)
        row = rows(page, "Workers of the embedded cluster").filter(has_text=address)
        button, dialog = row.get_by_role("button", name="Drain worker"), page.get_by_role("dialog")
        button.focus()
        page.keyboard.press("Enter")
        # Nothing is done by pressing the same key twice.
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(button).to_be_focused()
        expect(row.get_by_text("running", exact=True)).to_be_visible()

    def test_why_it_did_not_happen_is_told(self, site, held):
        page = open_page(site.visitor("admin"))
        page.route("**/api/drain", lambda route: route.fulfill(status=409, json={"detail": "there is no such worker"}))
        page.get_by_role("button", name="Drain worker").first.click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Drain it").click()
        expect(dialog.get_by_role("alert")).to_have_text("It did not happen: 409 there is no such worker.")
        # The browser complains of the answer, as it should.
        site.complaints.clear()


@pytest.mark.parametrize("user", ["user", "viewer"])
def test_who_may_not_edit_connections_may_look_only(site, held, user):
    page = open_page(site.visitor(user))
    address = first_worker(page)
    expect(page.get_by_role("link", name="held.hold")).to_have_count(3)
    expect(page.get_by_role("button", name="Drain")).to_have_count(0)
    cluster = page.locator("dl.facts code").first.inner_text()
    answer = page.request.post(f"{PATH}api/drain", data={"cluster": cluster, "worker": address}, headers=HEADER)
    assert answer.status == 403
    assert "permission to edit connections" in answer.json()["detail"]


@pytest.mark.parametrize(("user", "status"), [("guest", 403), (None, 401)])
def test_who_may_see_nothing_sees_nothing(site, user, status):
    page = site.visitor(user)
    for path in ("", "api/overview"):
        answer = page.request.get(f"{PATH}{path}")
        assert answer.status == status
        assert "tcp://" not in answer.text()
    answer = page.request.post(f"{PATH}api/drain", data={"cluster": "x", "worker": "y"}, headers=HEADER)
    assert answer.status == status
