"""
Takes down a cluster that `eks_dask_bootstrap` has built, and leaves nothing of it that costs money unasked.

First, tasks are moved home and those on the cluster may end. Then all goes in the order that AWS needs. The database
and the bucket are kept unless the form says otherwise. In the end, what is left is listed, and the run fails if that is
anything but what was to be kept. Each task can be run again at any time.
"""

from __future__ import annotations

from airflow_eks_dask.bootstrap.teardown import teardown_dag

dag = teardown_dag(__doc__)
