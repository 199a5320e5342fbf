"""
Builds a cluster on AWS EKS that runs Airflow's tasks, and moves them there.

Fill in the form and trigger it; with *Plan only* it changes nothing and tells, in the note of the run, what it would
make and what that costs a month. Each task can be run again at any time: it does only what is missing. Waits take no
slot. All of it runs beside the Airflow scheduler, in the lane `local`.

`eks_dask_doctor` examines what was made, `eks_dask_teardown` removes it.
"""

from __future__ import annotations

from airflow_eks_dask.bootstrap.dag import bootstrap_dag

dag = bootstrap_dag(__doc__)
