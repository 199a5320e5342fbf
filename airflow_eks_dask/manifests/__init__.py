"""Objects in Kubernetes, as manifests describe them: applied by the server, waited for, and deleted again."""
