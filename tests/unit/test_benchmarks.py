"""The arithmetic, tables and arguments of the benchmarks."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest

from airflow_eks_dask.local.processes import LocalProcessError
from benchmarks import __main__ as command
from benchmarks import dispatch, measure, report, systems, workloads
from benchmarks.heartbeat import HeartbeatTime
from benchmarks.redis_server import find_program
from benchmarks.results import METRICS, Idle, Sample, advantage, median_of, overhead, percentile

pytestmark = pytest.mark.any_airflow

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
CPU = {"executor": 0.5, "scheduler": 0.1, "api-server": 0.2, "dag-processor": 0.0, "triggerer": 0.0, "postgresql": 0.1}


def sample(executor="DaskExecutor", row="wide", run=0, **changes) -> Sample:
    fields = {"tasks": 10, "seconds": 5.0, "queued_p50": 0.1, "queued_p95": 0.2, "overhead": 1.0, "cpu": CPU}
    return Sample(executor=executor, row=row, run=run, **{**fields, **changes})


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


class TestPercentile:
    @pytest.mark.parametrize(
        ("values", "percent", "expected"),
        [
            ([3], 50, 3),
            ([3, 1, 2], 50, 2),
            ([1, 2], 50, 1.5),
            (range(101), 95, 95),
            ([1, 2, 3, 4], 0, 1),
            ([1, 2, 3, 4], 100, 4),
        ],
    )
    def test_is_between_the_nearest_values(self, values, percent, expected):
        assert percentile(values, percent) == pytest.approx(expected)

    @pytest.mark.parametrize(("values", "percent"), [([], 50), ([1], 101), ([1], -1)])
    def test_refuses_what_has_none(self, values, percent):
        with pytest.raises(ValueError, match="percentile"):
            percentile(values, percent)


class TestComparison:
    def test_a_rate_twice_as_high_is_twice_as_good(self):
        assert advantage(20, 10, more_is_better=True) == 2

    def test_a_cost_twice_as_high_is_half_as_good(self):
        assert advantage(20, 10, more_is_better=False) == 0.5

    @pytest.mark.parametrize(("ours", "theirs"), [(0, 1), (1, 0), (-0.1, 1)])
    def test_nothing_is_said_where_there_is_no_ratio(self, ours, theirs):
        assert math.isnan(advantage(ours, theirs, more_is_better=False))

    def test_one_odd_run_does_not_move_the_median(self):
        runs = [sample(seconds=seconds) for seconds in (5.0, 1.0, 5.0)]
        assert median_of(runs, METRICS[0]) == 2

    def test_overhead_is_the_time_of_slots_less_the_work(self):
        assert overhead(seconds=10, slots=4, width=100, work=20, tasks=10) == 2

    def test_overhead_counts_only_slots_that_the_row_can_use(self):
        assert overhead(seconds=10, slots=4, width=1, work=0, tasks=10) == 1


def test_a_sample_goes_from_the_first_schedule_to_the_last_end():
    def times(scheduled: float, queued: float, started: float, ended: float) -> measure.TaskTimes:
        return measure.TaskTimes(*(START + timedelta(seconds=s) for s in (scheduled, queued, started, ended)))

    tasks = [times(0, 1, 2, 3), times(1, 2, 5, 8)]
    result = measure.sample("DaskExecutor", workloads.Row("wide", 2, 2), 0, 4, tasks, CPU)
    assert (result.seconds, result.queued_p50, result.overhead) == (8, 2, 8)


class TestProcessorTime:
    BUSY = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"

    def test_counts_children_that_have_ended(self):
        child = f"subprocess.run([sys.executable, '-c', {self.BUSY!r}])"
        parent = f"import subprocess, sys; {child}; print('done', flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "done\n"
            assert measure.cpu_of_tree(process.pid) >= 0.3
            process.communicate("\n", timeout=30)

    def test_is_nothing_for_a_process_that_is_gone(self):
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait(30)
        assert measure.cpu_of_tree(process.pid) == 0


class TestRows:
    def test_durations_are_the_same_each_time(self):
        assert workloads.mixed_durations(60) == workloads.mixed_durations(60)

    def test_durations_are_mixed(self):
        durations = workloads.mixed_durations(60)
        assert 0 in durations
        assert max(durations) <= workloads.LONGEST
        assert len(set(durations)) > 20

    def test_the_work_of_mixed_is_known(self):
        (row,) = workloads.rows({"mixed": 8})
        assert row.work == pytest.approx(sum(workloads.mixed_durations(8)))

    def test_each_published_row_has_a_dag_file(self):
        files = {file.stem for file in (systems.REPOSITORY / "benchmarks" / "dags").glob("*.py")}
        assert files == set(workloads.SIZES)

    @pytest.mark.parametrize(("text", "expected"), [("wide", ("wide", 200)), ("wide=3", ("wide", 3))])
    def test_sizes_are_read(self, text, expected):
        assert workloads.parse_size(text) == expected

    @pytest.mark.parametrize("text", ["", "narrow", "wide=", "wide=0", "wide=-1", "wide=x", "=3"])
    def test_other_sizes_are_refused(self, text):
        with pytest.raises(ValueError, match="row"):
            workloads.parse_size(text)


class TestSlots:
    @pytest.mark.parametrize("slots", [1, 4, 40])
    def test_all_executors_have_as_many(self, slots):
        settings = {name: systems.executor_settings(name, slots, "redis://") for name in systems.EXECUTORS}
        assert settings["LocalExecutor"]["core"]["parallelism"] == slots
        assert settings["CeleryExecutor"]["celery"]["worker_concurrency"] == slots
        dask = settings["DaskExecutor"]["dask"]
        assert dask["embedded_workers"] * dask["slots_per_worker"] == slots

    @pytest.mark.parametrize("name", systems.EXECUTORS)
    def test_airflow_does_not_hold_them_back(self, name):
        core = systems.executor_settings(name, 40)["core"]
        assert min(core["parallelism"], core["max_active_tasks_per_dag"]) >= 40


class TestTables:
    SAMPLES = (
        sample("DaskExecutor", seconds=5.0),
        sample("LocalExecutor", seconds=10.0, queued_p50=0.05),
    )

    @pytest.mark.parametrize(
        ("value", "expected"),
        [(0, "0"), (1234.5, "1234"), (12.345, "12.3"), (0.12345, "0.123"), (0.001234, "0.00123"), (math.nan, "-")],
    )
    def test_figures_have_three_digits(self, value, expected):
        assert report.number(value) == expected

    def test_columns_are_aligned(self):
        lines = report.table(["a", "b"], [["x", "1.5"], ["longer", "10"]]).splitlines()
        assert len({len(line) for line in lines}) == 1
        assert lines[1] == "| ------ | --: |"

    def test_ratios_say_how_many_times_better(self):
        (heads, _, line) = cells(report.ratios_table(self.SAMPLES, "DaskExecutor"))
        ratios = dict(zip(heads, line, strict=True))
        assert ratios["tasks/s"] == "2.00"
        assert ratios["queued → start p50"] == "0.500"
        assert ratios["CPU per task"] == "1.00"

    def test_it_is_said_where_an_executor_is_behind(self):
        text = report.behind(self.SAMPLES, "DaskExecutor")
        assert "wide, queued → start p50: 0.500 of LocalExecutor" in text
        assert "tasks/s" not in text

    def test_a_little_is_not_behind(self):
        samples = (sample("DaskExecutor", seconds=5.1), sample("LocalExecutor"))
        assert "nowhere" in report.behind(samples, "DaskExecutor")

    def test_a_row_that_only_one_has_run_is_not_compared(self):
        assert len(cells(report.ratios_table((*self.SAMPLES, sample("LocalExecutor", "chain")), "DaskExecutor"))) == 3

    def test_memory_is_divided_by_slots(self):
        idle = [Idle("DaskExecutor", 0, 6, 4, 400 * 2**20)]
        assert cells(report.idle_table(idle))[-1] == ["DaskExecutor", "6", "4", "400", "100"]

    def test_a_report_of_one_executor_compares_nothing(self):
        text = report.executors_report(
            [sample("LocalExecutor")], [Idle("LocalExecutor", 0, 4, 4, 2**20)], "DaskExecutor"
        )
        assert "behind" not in text
        assert "LocalExecutor" in text

    def test_growth_is_said(self):
        times = [dispatch.DispatchTime(100, 1, 0.001), dispatch.DispatchTime(1000, 10, 0.03)]
        text = report.dispatch_report(times, HeartbeatTime(10, 0.1, 0.5, 0.7))
        assert "grows 3.00-fold" in text
        assert cells(text.split("\n\n")[1])[-1] == ["1,000", "-", "30.0"]


class TestDocument:
    DOCUMENT = "before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter\n"

    def test_only_the_part_between_the_markers_changes(self):
        text = report.put_between_markers(self.DOCUMENT, "x", "new")
        assert text == "before\n<!-- x: begin -->\n\nnew\n\n<!-- x: end -->\nafter\n"
        assert report.put_between_markers(text, "x", "new") == text

    @pytest.mark.parametrize("document", ["", "<!-- x: begin -->", "<!-- x: end --><!-- x: begin -->", 2 * DOCUMENT])
    def test_a_document_without_the_markers_is_left_alone(self, document):
        with pytest.raises(ValueError, match="x: begin"):
            report.put_between_markers(document, "x", "new")

    @pytest.mark.parametrize("name", ["executors", "dispatch"])
    def test_the_published_document_has_them(self, name):
        document = (command.DOCS / command.DOCUMENT).read_text()
        assert "new" in report.put_between_markers(document, name, "new")

    def test_results_are_saved_as_json(self, tmp_path):
        file = tmp_path / "results.json"
        report.save_json(file, {"memory": "1 GiB"}, "python", "2026-01-01", samples=[sample()])
        content = json.loads(file.read_text())
        assert content["machine"] == {"memory": "1 GiB"}
        assert content["samples"][0]["cpu"]["executor"] == 0.5


class TestDispatch:
    @pytest.mark.parametrize(("total", "workers"), [(1, 1), (50, 1), (2000, 7), (10, 100)])
    def test_every_workload_comes_back(self, total, workers):
        result = dispatch.time_dispatch(total, workers)
        assert (result.workloads, result.workers) == (total, workers)
        assert result.seconds > 0

    def test_without_workers_the_time_means_nothing(self):
        with pytest.raises(RuntimeError, match="0 of 5"):
            dispatch.time_dispatch(5, 0)


class TestCommandLine:
    def test_executors_take_turns_to_begin(self):
        assert [command.in_turn("abc", run) for run in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["executors", "--runs", "0"],
            ["executors", "--runs", "x"],
            ["executors", "--rows", "narrow"],
            ["executors", "--executors", "SequentialExecutor"],
            ["dispatch", "--workers", "-1"],
        ],
    )
    def test_bad_arguments_are_refused(self, arguments, capsys):
        with pytest.raises(SystemExit) as caught:
            command.parser().parse_args(arguments)
        assert caught.value.code == 2
        assert "error" in capsys.readouterr().err

    def test_rows_and_sizes(self):
        options = command.parser().parse_args(["executors", "--rows", "wide=20", "chain"])
        assert dict(options.rows) == {"wide": 20, "chain": workloads.SIZES["chain"]}


class TestRedisProgram:
    def test_the_one_on_path_comes_first(self, tmp_path, monkeypatch):
        program = tmp_path / "redis-server"
        program.touch(mode=0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        assert find_program() == program

    def test_it_is_said_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr("benchmarks.redis_server.WHEEL", "no_such_package_of_redis")
        with pytest.raises(LocalProcessError, match=r"airflow-eks-dask\[benchmarks\]"):
            find_program()


def test_plots_are_the_same_for_the_same_figures(tmp_path):
    from benchmarks import plot

    samples = [sample(executor, row) for executor in ("DaskExecutor", "LocalExecutor") for row in ("wide", "chain")]
    contents = []
    for name in ("one.svg", "two.svg"):
        plot.plot_executors(samples, tmp_path / name)
        contents.append((tmp_path / name).read_text())
    assert contents[0] == contents[1]
    assert "DaskExecutor" in contents[0]
