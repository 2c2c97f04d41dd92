//! Tests of the assembled system. What needs one crate only is tested there.

mod apis;
mod architecture;
mod bad_input;
mod clients;
mod cluster;
mod conformance;
mod examples;
mod extenders;
mod harness;
mod kubectl;
mod life;
mod nodes;
mod replay;
mod roles;
mod servers;
mod services;
mod table;
