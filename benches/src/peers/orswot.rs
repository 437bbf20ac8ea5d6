//! The same kind of CRDT from another crate.

use super::FlatKey;
use crdts::ctx::RmCtx;
use crdts::{CmRDT, CvRDT, Orswot};

/// `crdts::Orswot` of topics and keys joined, on one thread. It has no metas, which spares it their copies, and its
/// members lie in the map itself: it looks up by reference to the member's own type only, so a boxed key would have to be
/// allocated for each look. The hasher is the crate's choice.
#[derive(Clone, Debug)]
pub struct OrswotSet {
    set: Orswot<FlatKey, u64>,
    actor: u64,
}

impl OrswotSet {
    /// What the reports call it.
    pub const NAME: &'static str = "crdts_orswot";

    /// An empty set of an actor, whose dots must be nobody else's.
    #[must_use]
    pub fn new(actor: u64) -> Self {
        Self { set: Orswot::new(), actor }
    }

    /// Adds a member.
    pub fn add(&mut self, key: &FlatKey) {
        let context = self.set.read_ctx().derive_add_ctx(self.actor);
        let operation = self.set.add(*key, context);
        self.set.apply(operation);
    }

    /// Removes what is known of a member; whether there was something.
    pub fn remove(&mut self, key: &FlatKey) -> bool {
        let seen = self.set.contains(key);
        let context = RmCtx { clock: seen.rm_clock };
        let operation = self.set.rm(*key, context);
        self.set.apply(operation);
        seen.val
    }

    /// Whether a member is there.
    #[must_use]
    pub fn contains(&self, key: &FlatKey) -> bool {
        self.set.contains(key).val
    }

    /// Takes in what another actor's set has: a delta is a set of its changes only, as that actor's clock covers no dot
    /// of anybody else.
    pub fn merge(&mut self, other: Self) {
        self.set.merge(other.set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;

    #[test]
    fn the_set_adds_and_removes_and_a_merge_keeps_what_the_delta_does_not_know() {
        let rows = Shape { entries: 200, topic_members: 100 }.resident();
        let (mut all, mut delta) = (OrswotSet::new(1), OrswotSet::new(2));
        rows[..150].iter().for_each(|row| all.add(&row.flat_key()));
        rows[150..].iter().for_each(|row| delta.add(&row.flat_key()));
        assert!(all.remove(&rows[0].flat_key()) && !all.remove(&rows[0].flat_key()));
        all.merge(delta);
        assert!(!all.contains(&rows[0].flat_key()));
        assert!(rows[1..].iter().all(|row| all.contains(&row.flat_key())));
    }
}
