//! What the rules of a definition can cost together.

use api::structural::{Additional, Structural, Ty};
use expr::limits::{ESTIMATE_PER_RULE, ESTIMATE_PER_SCHEMA};

/// How many of the most expensive rules are named.
const NAMED: usize = 4;

/// The costs of all rules so far.
#[derive(Default)]
pub(super) struct Total {
    sum: u64,
    /// The most expensive first.
    named: Vec<(u64, String)>,
}

impl Total {
    pub(super) fn add(&mut self, path: String, cost: u64) {
        self.sum = self.sum.saturating_add(cost);
        // Less than a hundredth is not to blame.
        if cost < ESTIMATE_PER_SCHEMA / 100 {
            return;
        }
        self.named.push((cost, path));
        self.named.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        self.named.truncate(NAMED);
    }

    /// The rules to blame and what to say of the whole, if it is too much.
    pub(super) fn excess(self) -> Option<(Vec<String>, String)> {
        if self.sum <= ESTIMATE_PER_SCHEMA {
            return None;
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let paths = self.named.into_iter().map(|(_, path)| path).collect();
        Some((paths, exceeds(what, self.sum, ESTIMATE_PER_SCHEMA)))
    }
}

/// What to say of a rule that costs too much.
pub(super) fn too_much(what: &str, cost: u64) -> Option<String> {
    (cost > ESTIMATE_PER_RULE).then(|| exceeds(what, cost, ESTIMATE_PER_RULE))
}

#[expect(clippy::cast_precision_loss, reason = "a factor is shown with a digit or six")]
fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = match cost as f64 / limit as f64 {
        f if f > 100.0 => "more than 100x".to_owned(),
        f if f < 1.5 => format!("{f:.6}x"),
        f => format!("{f:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

/// How often a value of the schema can stand in an object; nothing where no limit above it says so.
pub(super) type Cardinality = Option<u64>;

/// How often what is below a schema can stand there.
pub(super) fn below(schema: &Structural, here: Cardinality) -> Cardinality {
    let times = |limit: Option<i64>| limit.map(|n| u64::try_from(n).unwrap_or(0));
    let factor = match (schema.ty, &schema.additional) {
        (Some(Ty::Object), Additional::Schema(_) | Additional::Any(_)) => times(schema.checks.max_properties),
        (Some(Ty::Array), _) => times(schema.checks.max_items),
        _ => Some(1),
    };
    Some(here?.saturating_mul(factor?))
}
