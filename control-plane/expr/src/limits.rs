//! What bounds the work of one expression. Upstream publishes the cost limits; users size their rules by them.

/// Cost units that one evaluation of one expression may spend: about a tenth of a second on upstream's measure.
pub const PER_CALL: u64 = 1_000_000;

/// Cost units that all rules on one object may spend together: about a second on upstream's measure.
pub const PER_OBJECT: u64 = 10_000_000;

/// The largest estimated cost of one rule that a definition may hold.
pub const ESTIMATE_PER_RULE: u64 = 10_000_000;

/// The largest estimated cost of all rules of one definition.
pub const ESTIMATE_PER_SCHEMA: u64 = 100_000_000;

/// The largest request that sizes are estimated from. Part of the estimates, so it follows no configuration.
pub const REQUEST_BYTES: u64 = 3 * 1024 * 1024;

/// The longest text that a message expression may give.
pub const MESSAGE_BYTES: usize = 5 * 1024;

/// The longest expression that is looked at: upstream's parser takes as many code points.
pub(crate) const SOURCE_CHARS: usize = 100_000;

/// How deep an expression may nest, operators in a row included: the parser and the evaluator recurse once per level,
/// and the stack that [`crate::parse`] reserves has room for so many.
pub(crate) const DEPTH: usize = 250;

/// How many errors one compilation tells of.
pub(crate) const ERRORS: usize = 100;

/// The largest compiled regular expression: patterns come from users.
pub(crate) const REGEX_BYTES: usize = 1 << 20;
