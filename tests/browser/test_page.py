"""The page "Dask cluster" in a real browser: what it shows, and to what it can be used."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from playwright.sync_api import expect

from airflow_eks_dask.hooks.dask import ownership_mark
from tests.browser.accessibility import overflow, problems
from tests.browser.site import NARROW, Held, open_page, rows, section
from tests.conftest import eventually
from tests.integration.cluster import DaskCluster

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

OVERVIEW = "**/eks-dask/api/overview"
OUTLINE = "(each => [each.outlineStyle, each.outlineWidth])(getComputedStyle(document.activeElement))"
WIDE = {"width": 1280, "height": 1000}


def changed(page: Page, change: object) -> None:
    """Have the page be told something else than the truth, which is changed by a function."""

    def answer(route: Route) -> None:
        response = route.fetch()
        data = response.json()
        change(data)
        route.fulfill(response=response, json=data)

    page.route(OVERVIEW, answer)


class TestInAirflow:
    """Where Airflow's users find it."""

    def test_from_the_login_to_the_task_that_runs(self, site, held, photograph):
        page = site.visitor(None)
        page.goto("/")
        page.get_by_label("Username").fill("admin")
        page.get_by_label("Password").fill(site.passwords["admin"])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Browse").click()
        page.get_by_role("menuitem", name="Dask cluster").click()
        frame = page.frame_locator("iframe")
        expect(frame.get_by_role("heading", name="Dask cluster", level=1)).to_be_visible()

        workers = rows(frame, "Workers of the embedded cluster")
        expect(workers).to_have_count(2)
        tasks = frame.get_by_role("link", name=re.compile(r"held\.hold\[\d\]"))
        expect(tasks).to_have_count(3)
        page.wait_for_timeout(300)  # the menu folds up, which is to be seen nowhere else
        photograph(page, "ui-in-airflow")
        tasks.first.click()
        expect(page).to_have_url(re.compile(r"/dags/held/runs/[^/]+/tasks/hold/mapped/\d"))
        assert held.run_id in unquote(page.url)

    @pytest.mark.parametrize("dark", [False, True])
    def test_it_is_as_dark_as_airflow(self, site, dark):
        page = site.visitor("viewer", color_scheme="light" if dark else "dark")
        page.add_init_script(f"localStorage.setItem('theme', '{'dark' if dark else 'light'}')")
        page.goto("/plugin/dask-cluster")
        frame = page.frame_locator("iframe")
        expect(frame.locator("#state")).to_contain_text("As of")
        assert frame.locator("html").evaluate("each => each.classList.contains('dark')") is dark


class TestContent:
    """What it shows."""

    def test_workers_slots_and_queues(self, site, held):
        page = open_page(site.visitor("viewer"))
        cluster = section(page, "The embedded cluster")
        expect(cluster.get_by_text("connected", exact=True)).to_be_visible()
        for lane in ("default", "local"):
            expect(cluster.get_by_text(f"lane {lane}", exact=True)).to_be_visible()
        tiles = {
            tile: cluster.locator(".tile", has_text=tile).locator("dd") for tile in ("slots", "running", "waiting")
        }
        expect(tiles["slots"]).to_have_text("4")
        expect(tiles["running"]).to_have_text("3")
        expect(tiles["waiting"]).to_have_text("0")
        (queue,) = rows(page, "Queues of the embedded cluster").all()
        expect(queue).to_contain_text("default")
        expect(queue.locator("td").nth(1)).to_have_text("1")
        facts = cluster.locator("dl.facts")
        for words in (
            "embedded cluster, process",
            "uses it since",
            "apache-airflow 3.",
            "distributed 2",
            "the same on 2 workers",
        ):
            expect(facts).to_contain_text(words)
        expect(facts.get_by_role("link")).to_have_attribute("href", re.compile(r"^http://127\.0\.0\.1:\d+/status$"))

    def test_it_goes_on_by_itself(self, site, tmp_path):
        page = open_page(site.visitor("viewer"))
        run = Held(site.client, tmp_path, "held", ("0", "1", "2"))
        tasks = page.get_by_role("link", name=re.compile(r"held\.hold"))
        expect(tasks).to_have_count(3)
        run.let_go()
        expect(tasks).to_have_count(0)

    def test_steps_of_a_bootstrap(self, site, tmp_path, photograph):
        run = Held(site.client, tmp_path, "eks_dask_bootstrap_held", ("0",))
        page = open_page(site.visitor("viewer", viewport=WIDE))
        progress = section(page, "eks_dask_bootstrap_held")
        steps = progress.get_by_role("listitem")
        expect(steps).to_have_count(9)
        expect(steps.filter(has_text="cluster")).to_contain_text("running")
        expect(steps.first).to_contain_text("preflight")
        expect(steps.first).to_contain_text("done · 3 of 3")
        expect(steps.last).to_contain_text("verify")
        expect(steps.last).to_contain_text("waiting")
        assert problems(page) == []
        photograph(progress, "ui-bootstrap")
        run.let_go()
        expect(progress.get_by_text("success", exact=True)).to_be_visible()
        expect(steps.last).to_contain_text("done")

    def test_a_worker_of_another_version_is_seen(self, site):
        def change(data):
            data["clusters"][0]["workers"][0]["version_differences"] = ["dask 2026.8.0 here, 2025.1.0 there"]

        page = site.visitor("viewer")
        changed(page, change)
        open_page(page)
        expect(page.get_by_text("Versions differ: dask 2026.8.0 here, 2025.1.0 there")).to_be_visible()
        assert problems(page) == []


class TestAnotherCluster:
    """The default lane moves there, and home again."""

    @pytest.fixture
    def dask(self, site, tmp_path):
        """A Dask scheduler with one worker, where the connection ``dask_default`` leads to."""
        dask = DaskCluster(tmp_path, site.airflow.environment)
        dask.start_scheduler()
        dask.start_worker("--nthreads", "1")
        body = {
            "connection_id": "dask_default",
            "conn_type": "dask",
            "host": "127.0.0.1",
            "port": dask.port,
            "description": ownership_mark("pipelines"),
        }
        site.client.request("POST", "/connections", json=body)
        yield dask
        site.client.request("DELETE", "/connections/dask_default")
        page = open_page(site.visitor("viewer"))
        expect(section(page, "The embedded cluster").get_by_text("lane default", exact=True)).to_be_visible()
        home = f"Lane default moved from the cluster at {dask.address} to the embedded cluster"
        expect(rows(page, "Recent moves and faults").filter(has_text=home)).to_have_count(1)
        dask.stop()

    def test_lanes_moves_and_faults(self, site, dask, photograph):
        page = open_page(site.visitor("viewer", viewport=WIDE))
        name, cluster = f"the cluster at {dask.address}", section(page, f"The cluster at {dask.address}")
        expect(rows(page, f"Workers of {name}").filter(has_text="2 of 2 free")).to_have_count(1)
        expect(cluster.get_by_text("lane default", exact=True)).to_be_visible()
        expect(cluster.locator("dl.facts")).to_contain_text("uses it since")
        expect(cluster).to_contain_text("airflow eks-dask dashboard --cluster pipelines")
        expect(section(page, "The embedded cluster").get_by_text("lane local", exact=True)).to_be_visible()
        history = rows(page, "Recent moves and faults")
        moved = f"Lane default moved from the embedded cluster to {name}"
        expect(history.filter(has_text=moved)).to_have_count(1)
        expect(history.filter(has_text=f"Connected to {name}")).to_have_count(1)
        photograph(page, "ui-lanes", full_page=True)

        dask.processes.stop(dask.scheduler)
        expect(cluster.get_by_text("not reached", exact=True)).to_be_visible()
        lost = history.filter(has_text=f"Lost {name}")
        expect(lost).to_have_count(1)
        expect(lost.locator("td").last).to_have_text(re.compile(r"\w+"))
        assert problems(page) == []

    def test_a_queue_that_nobody_serves_until_somebody_does(self, site, dask):
        page = open_page(site.visitor("viewer"))
        site.client.wait_for_dag("probe_large")
        expect(rows(page, f"Workers of the cluster at {dask.address}").filter(has_text="2 of 2 free")).to_have_count(1)
        run_id = site.client.trigger("probe_large")
        large = rows(page, f"Queues of the cluster at {dask.address}").filter(has_text="large")
        expect(large).to_contain_text("no worker in service has it in [dask] queues")
        fault = rows(page, "Recent moves and faults").filter(has_text="Queue not served").first
        expect(fault.get_by_role("link", name="probe_large.large")).to_be_visible()
        assert problems(page) == []
        dask.start_worker("--nthreads", "1", AIRFLOW__DASK__QUEUES="large")
        site.client.wait_for_run("probe_large", run_id)
        expect(large).to_contain_text("yes")


class TestFaults:
    """What it says when something is wrong."""

    def test_the_airflow_scheduler_is_gone(self, site):
        page = open_page(site.visitor("viewer"))
        site.airflow.kill_component("scheduler")
        try:
            fault = section(page, "The embedded cluster").get_by_text("Is the Airflow scheduler up, with DaskExecutor?")
            expect(fault).to_be_visible()
            assert problems(page) == []
        finally:
            site.airflow.start_component("scheduler")
        expect(rows(page, "Workers of the embedded cluster")).to_have_count(2)

    def test_the_api_server_does_not_answer(self, site):
        page = open_page(site.visitor("viewer"))
        expect(rows(page, "Workers of the embedded cluster")).to_have_count(2)
        page.route(OVERVIEW, lambda route: route.fulfill(status=503, json={"detail": "starting"}))
        alert = page.get_by_role("alert").filter(has_text="Airflow's API server did not tell: 503 starting.")
        expect(alert).to_be_visible()
        expect(page.locator("#state")).to_have_text("Not current")
        # What was known stays.
        expect(rows(page, "Workers of the embedded cluster")).to_have_count(2)
        page.unroute(OVERVIEW)
        expect(alert).to_be_hidden()
        # The browser complains of the answer, as it should.
        site.complaints.clear()

    def test_an_airflow_with_another_executor(self, site):
        page = site.visitor("viewer")
        changed(page, lambda data: data.update(executor="LocalExecutor"))
        open_page(page)
        expect(page.get_by_role("alert").first).to_contain_text("[core] executor = LocalExecutor")


class TestForEveryone:
    """Dark and light, wide and narrow, with and without a mouse."""

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_can_be_read(self, site, held, scheme, photograph):
        page = open_page(site.visitor("admin", color_scheme=scheme, viewport=WIDE))
        expect(page.get_by_role("link", name=re.compile(r"held\.hold"))).to_have_count(3)
        assert problems(page) == []
        assert overflow(page) <= 0
        dark = page.locator("body").evaluate("each => getComputedStyle(each).backgroundColor") == "rgb(15, 17, 21)"
        assert dark is (scheme == "dark")
        photograph(page, f"ui-{scheme}")

    def test_on_a_narrow_screen_tables_scroll_in_their_boxes(self, site, held, photograph):
        page = open_page(site.visitor("admin", viewport=NARROW))
        expect(page.get_by_role("link", name=re.compile(r"held\.hold"))).to_have_count(3)
        assert overflow(page) <= 0
        box = page.get_by_role("region", name="Workers of the embedded cluster")
        assert box.evaluate("each => each.scrollWidth > each.clientWidth")
        box.focus()
        page.keyboard.press("ArrowRight")
        # Playwright's own waiting evaluates text in the page, which the page forbids.
        eventually(lambda: box.evaluate("each => each.scrollLeft > 0"), what="the table has scrolled")
        assert problems(page) == []
        photograph(page, "ui-narrow")

    def test_all_of_it_is_reached_by_the_keyboard_and_stays(self, site, held):
        page = open_page(site.visitor("admin"))
        expect(page.get_by_role("link", name=re.compile(r"held\.hold"))).to_have_count(3)
        reached = []
        for _ in range(40):
            page.keyboard.press("Tab")
            name = page.evaluate("document.activeElement.dataset.focus ?? ''")
            if not name or name in reached:
                break
            style = page.evaluate(OUTLINE)
            assert style == ["solid", "3px"], name
            reached.append(name)
        kinds = [name.partition(":")[0] for name in reached]
        assert kinds.count("task") == 3
        assert kinds.count("drain") == 2
        assert kinds.index("dashboard") < kinds.index("table") < kinds.index("task")
        # What is shown anew keeps the focus.
        button = page.get_by_role("button", name="Drain worker").first
        button.focus()
        changed(page, lambda data: data["clusters"][0].update(source="another source"))
        expect(page.locator("dl.facts")).to_contain_text("another source")
        expect(button).to_be_focused()

    def test_changes_are_said_to_those_who_hear_the_page(self, site):
        page = open_page(site.visitor("viewer"))
        news = page.get_by_role("status")
        expect(news).to_be_empty()
        changed(page, lambda data: data["clusters"][0]["workers"].pop())
        expect(news).to_have_text("1 worker on the embedded cluster")
