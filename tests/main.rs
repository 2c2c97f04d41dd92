//! Tests of the assembled system. What needs one crate only is tested there.

mod architecture;
mod cluster;
mod harness;
mod kubectl;
