"""
The Dask side: how workloads are placed on workers and run there.

A workload's way through the modules: :mod:`.scheduler_plugin` takes batches from executors and asks the pure
:mod:`.dispatcher` which worker runs what; :mod:`.worker_plugin` on that worker hands the workload to the
:mod:`.launcher`, a warm process that forks one :mod:`.workload_process` for it and reports how it ended.
"""
