"""A bootstrap in whose way there is something at every step: who puts it right clears what failed, and it goes on."""

from __future__ import annotations

import pytest

from airflow_eks_dask.bootstrap.runs import BOOTSTRAP, TEARDOWN
from tests.rehearsal.stage import TIMEOUT
from tests.rehearsal.timetable import tell_groups
from tests.rehearsal.trouble import AT_FIRST, ONCE_THE_FORM_IS_READ

pytestmark = [pytest.mark.any_airflow, pytest.mark.timeout(5400)]

ALL = {"database": "delete", "keep_bucket": False}


def failed(stage, run_id):
    return {label for label, task in stage.states(BOOTSTRAP, run_id).items() if task.state == "failed"}


def test_what_fails_is_healed_by_clearing_it(stage, timetable):
    waiting, later = [*AT_FIRST], [*ONCE_THE_FORM_IS_READ]
    for trouble in waiting:
        trouble.begin(stage)
    stage.client.wait_for_dag(BOOTSTRAP)
    form = stage.form(cluster_name="trouble", helm_values={"test": {"timeout": 20}})
    run_id = stage.client.trigger(BOOTSTRAP, form)
    for number in range(len(AT_FIRST) + len(ONCE_THE_FORM_IS_READ) + 1):
        with timetable.step(f"try {number + 1}"):
            run = stage.client.wait_for_run(BOOTSTRAP, run_id, timeout=TIMEOUT, expected=None, poll_interval=2)
        if run.state == "success":
            break
        if later and stage.states(BOOTSTRAP, run_id)["preflight.form"].state == "success":
            for trouble in later:
                trouble.begin(stage)
            waiting += later
            later = []
        now = failed(stage, run_id)
        met = [trouble for trouble in waiting if trouble.tasks & now]
        assert now == set().union(*(trouble.tasks for trouble in met))
        print(f"           failed: {', '.join(sorted(now))}", flush=True)
        for trouble in met:
            trouble.mend(stage)
            waiting.remove(trouble)
        stage.clear(BOOTSTRAP, run_id, *now)
    assert run.state == "success"
    assert waiting == []
    tasks = stage.client.task_instances(BOOTSTRAP, run_id)
    tell_groups(tasks)
    groups = {task.task_id.partition(".")[0] for task in tasks}
    troubled = {name.partition(".")[0] for trouble in (*AT_FIRST, *ONCE_THE_FORM_IS_READ) for name in trouble.tasks}
    assert groups - troubled == set()
    with timetable.step("teardown"):
        stage.run(TEARDOWN, cluster_name="trouble", cluster_name_again="trouble", **ALL)
