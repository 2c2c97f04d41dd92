//! The controllers: one file each, watches() and a pure plan().
