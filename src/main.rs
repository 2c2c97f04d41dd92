//! The front door of Wherry.

fn main() {}
