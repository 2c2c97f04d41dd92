//! Executor on namespaces and cgroups, and the pod process.
