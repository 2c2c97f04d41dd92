//! Runs the pods of one node through CRI.
