//! CEL as Kubernetes speaks it: libraries and cost limits. No IO.
