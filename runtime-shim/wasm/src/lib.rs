//! Executor on wasmtime: one host for the guests of every pod.
