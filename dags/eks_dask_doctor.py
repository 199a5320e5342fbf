"""
Examines a cluster that `eks_dask_bootstrap` has built, and changes nothing.

It looks at each part in AWS and at what runs in Kubernetes, and sends a function through every worker and back.

It compares with what the cluster was built as, names what has drifted, compares versions, and says what to do. It fails
if something is wrong; the note of the run and the log of `report` say what. Trigger it by hand; or unpause it, and it
examines the cluster of the form's defaults once a day.
"""

from __future__ import annotations

from airflow_eks_dask.bootstrap.doctor import doctor_dag

dag = doctor_dag(__doc__)
