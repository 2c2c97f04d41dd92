//! The nodes that do not do, with why: few reasons stand for many nodes.

use std::collections::BTreeSet;

use crate::plugins::{Reason, Reject};

/// Rejections that a new one is compared with before it counts as another: neighbours mostly lack the same.
const COMPARED: usize = 8;

#[derive(Debug, Default)]
pub struct Refusals {
    rejects: Vec<(Reject, &'static str)>,
    /// Slots of nodes, with the place of their rejection.
    nodes: Vec<(u32, u32)>,
}

/// A node that does not do, and the plugin that said so.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    pub slot: usize,
    pub reject: &'a Reject,
    pub by: &'static str,
}

impl Refusals {
    pub(crate) fn push(&mut self, slot: usize, reject: Reject, by: &'static str) {
        let last = self.rejects.len().saturating_sub(COMPARED);
        let known = self.rejects[last..].iter().rposition(|(known, of)| *of == by && *known == reject);
        let at = known.map_or_else(
            || {
                self.rejects.push((reject, by));
                self.rejects.len() - 1
            },
            |at| last + at,
        );
        self.nodes.push((slot as u32, at as u32));
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Refusal<'_>> {
        self.nodes.iter().map(|(slot, at)| {
            let (reject, by) = &self.rejects[*at as usize];
            Refusal { slot: *slot as usize, reject, by }
        })
    }

    pub(crate) fn by(&self) -> BTreeSet<&'static str> {
        self.rejects.iter().map(|(_, by)| *by).collect()
    }

    /// The reasons, with how many nodes have each.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = (&Reason, usize)> {
        let mut nodes = vec![0; self.rejects.len()];
        self.nodes.iter().for_each(|(_, at)| nodes[*at as usize] += 1);
        self.rejects.iter().zip(nodes).flat_map(|((reject, _), nodes)| reject.reasons().map(move |r| (r, nodes)))
    }
}

/// "0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods."
pub(crate) fn unavailable<'a>(all: usize, reasons: impl Iterator<Item = (&'a Reason, usize)>) -> String {
    let mut counts: Vec<(&Reason, usize)> = vec![];
    for (reason, nodes) in reasons {
        match counts.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += nodes,
            None => counts.push((reason, nodes)),
        }
    }
    let mut parts: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    format!("0/{all} nodes are available: {}.", parts.join(", "))
}
