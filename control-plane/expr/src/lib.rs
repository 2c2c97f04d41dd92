//! CEL as Kubernetes speaks it: checked against declared types, with Kubernetes' libraries, its estimates and its limits
//! of cost. It reads somebody's value tree through [`Data`] and knows nothing of requests or schemas.
//!
//! The grammar is cel-rust's; the checker and the evaluator are ours, because clients see their errors and their costs.

mod ast;
mod check;
mod cost;
mod data;
mod decl;
mod escape;
mod eval;
mod library;
pub mod limits;
mod parse;
mod program;
mod source;
#[cfg(test)]
mod tests;
mod types;
mod value;

pub use cost::Range;
pub use data::{Data, View};
pub use decl::{Decl, Field, Identity, Object, Shape};
pub use escape::escape;
pub use program::{Binding, Environment, Outcome, Program, Variable};
pub use source::{CompileError, Issue};
pub use types::Type;
pub use value::{Fail, Out, Val};
