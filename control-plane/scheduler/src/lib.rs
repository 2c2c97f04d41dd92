//! Which node a pod runs on: the scheduling framework and its plugins.
