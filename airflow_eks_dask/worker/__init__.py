"""The Dask side: plugins on workers and scheduler, one process per workload."""
