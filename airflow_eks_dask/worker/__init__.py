"""
The Dask side: how workloads are placed on workers and run there.

A workload's way through the modules: :mod:`.scheduler_plugin` takes batches from executors and asks the pure
:mod:`.dispatcher`, which keeps count in :mod:`.placement`, which worker runs what; :mod:`.worker_plugin` on that worker
hands the workload to the :mod:`.launcher`, a warm process that has one of its forks, a :mod:`.workload_process`, run it
and reports how it ended. The process of a task may be a :mod:`.dag_template`, which has read its DAG file.

A worker's way out: :mod:`.stop_signals` tell the :mod:`.nanny_plugin` or the worker, and its :mod:`.departure` waits
for what runs; :mod:`.retirement` does the same for workers that are taken away from the Dask scheduler's side.
"""
