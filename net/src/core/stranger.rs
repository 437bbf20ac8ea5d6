//! What a session can do that has not proven itself: prove itself. And what becomes of one whose frames make this node stumble.
//!
//! A datagram with a good tag may still be an old one, played again. So a session that is not known is given a cookie: a tag over its
//! node, session and address, which costs no memory. When it gives the cookie back, sealed in that session, it is alive and where it
//! says; each then introduces itself. No answer to a session that is not proven is longer than what it answers.

use super::Core;
use super::gate::Admitted;
use super::io::{Output, Phase, StreamAction, StreamId, StreamInput, Target, Time};
#[cfg(feature = "tracing")]
use super::notes::Turn;
use super::receive::Sender;
use crate::wire::{self, Frame};
use headcount::{Incarnation, NodeId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Nobody can make this node's epoch grow by more than this at once, so it is never used up.
const EPOCH_STEP_MAX: u32 = 1 << 20;
/// Steps above this are rare, and are not made in quick succession.
const EPOCH_STEP_SMALL: u32 = 1024;
const JUMP_EVERY: Duration = Duration::from_millis(100);
const BIG_JUMP_EVERY: Duration = Duration::from_secs(1);

impl Core {
    /// Hears a session that has not proven itself.
    pub(super) fn meet_stranger(
        &mut self,
        now: Time,
        sender: Sender,
        admitted: &Admitted<'_>,
        (len, frames): (usize, &[Frame<'_>]),
        out: &mut Output,
    ) {
        #[cfg(test)]
        self.gate.stumble_at("stranger");
        for frame in frames {
            if let Frame::Proof(proof) = frame {
                if self.take_proof(now, sender, admitted, proof) {
                    // Both have shown who they are; now they say it.
                    self.send_hello(Target::Node(sender.addr), sender.node, true, out);
                    return;
                }
                self.stats.proofs_refused += 1;
            }
        }
        self.stats.unproven += 1;
        self.believe_goodbyes(sender, frames, out);
        let mut answer = Vec::new();
        let trailer = len.saturating_sub(wire::HEADER_LEN + admitted.body.len());
        if wire::HEADER_LEN + wire::Challenge::LEN + trailer <= len
            && let Some(cookie) = self.gate.challenge(now, sender.addr, sender.id())
        {
            wire::Challenge { target_session: sender.session, cookie }.put(&mut answer);
            self.stats.challenges_sent += 1;
            self.send(Target::Node(sender.addr), &answer, out);
        }
        if let Some(Frame::Challenge(challenge)) =
            frames.iter().find(|frame| matches!(frame, Frame::Challenge(_)))
        {
            self.answer_challenge(sender, challenge, out);
        }
    }

    /// The one thing that a stranger is believed: a goodbye is final, and as true when it is played again. It may have overtaken the
    /// proof of its session. That of a later life than the one known says that the known one is over as well.
    fn believe_goodbyes(&mut self, sender: Sender, frames: &[Frame<'_>], out: &mut Output) {
        for frame in frames {
            if let Frame::Leave(leave) = frame {
                let life = Incarnation::from_u64(leave.incarnation);
                let known = self.members.get(&sender.node).map(|member| member.incarnation);
                if known != Some(life) {
                    self.remember_goodbye(sender.node, life);
                }
                if known.is_some_and(|known| known < life) {
                    note!(self.note_turn(sender.node, Turn::Left));
                    self.drop_member(sender.node, out);
                }
            }
        }
    }

    fn take_proof(
        &mut self,
        now: Time,
        sender: Sender,
        admitted: &Admitted<'_>,
        proof: &wire::Proof,
    ) -> bool {
        let members = &self.members;
        let is_member = |node, session| members.get(&node).is_some_and(|member| member.session == session);
        self.gate.prove(now, sender.addr, &admitted.header, &proof.cookie, is_member)
    }

    /// Gives a cookie back: shorter than the challenge it came in.
    pub(super) fn answer_challenge(&mut self, sender: Sender, challenge: &wire::Challenge, out: &mut Output) {
        if challenge.target_session != self.session {
            return;
        }
        let mut body = Vec::new();
        wire::Proof { cookie: challenge.cookie }.put(&mut body);
        self.send(Target::Node(sender.addr), &body, out);
    }

    /// What is claimed to be known of this node's own lives, as far as it may be believed.
    pub(super) fn believe(&mut self, claimed: Incarnation) -> Incarnation {
        let epoch_max = self.incarnation.epoch.saturating_add(EPOCH_STEP_MAX);
        if claimed.epoch <= epoch_max {
            return claimed;
        }
        self.stats.implausible += 1;
        Incarnation { epoch: epoch_max, nonce: u32::MAX }
    }

    /// Whether this node may take a life above `highest` so soon after the last time.
    pub(super) fn may_jump(&mut self, now: Time, highest: Incarnation) -> bool {
        let small = highest.epoch.saturating_sub(self.incarnation.epoch) <= EPOCH_STEP_SMALL;
        let wait = if small { JUMP_EVERY } else { BIG_JUMP_EVERY };
        let may = highest.epoch < u32::MAX && self.jumped_at.is_none_or(|at| now >= at + wait);
        if may {
            self.jumped_at = Some(now);
        }
        may
    }

    /// Handles what came from elsewhere: a datagram, or something on a stream. If that panics, this node goes on. If it was a node that
    /// has shown who it is, its life is put in quarantine and everything of it dropped; if not, there is nobody to blame: it is counted,
    /// and what it came in is dropped, the stream closed.
    pub(super) fn guarded(
        &mut self,
        now: Time,
        stream: Option<StreamId>,
        out: &mut Output,
        handle: impl FnOnce(&mut Self, &mut Output),
    ) {
        self.speaking = None;
        // Unwind safety: what a panic can leave half done is what is kept of the node that speaks, here and in the tracker, and that is
        // dropped whole. The tracker's locks are given back by unwinding, and local sessions are never written to from here. Of a node that
        // is not a member nothing is kept but tables of when it was last answered, and of who asks on a stream what goes with the stream.
        let stumbled = catch_unwind(AssertUnwindSafe(|| handle(self, out))).is_err();
        match self.speaking.take() {
            _ if !stumbled => {}
            Some(node) => self.put_in_quarantine(node, out),
            None => self.drop_unnamed(now, stream, out),
        }
    }

    fn drop_unnamed(&mut self, now: Time, stream: Option<StreamId>, out: &mut Output) {
        self.stats.stumbles += 1;
        let Some(id) = stream else {
            return;
        };
        // As if it had been closed. Again unwind safe: what is left of it then is in tables whose entries have deadlines.
        let _ = catch_unwind(AssertUnwindSafe(|| self.on_any_stream(now, id, StreamInput::Closed, out)));
        out.streams.push((id, StreamAction::Abort));
    }

    fn put_in_quarantine(&mut self, node: NodeId, out: &mut Output) {
        self.stats.quarantines += 1;
        let life = self.members.get(&node).map(|member| member.incarnation);
        let life = life.or_else(|| self.replica.highest_incarnation(node));
        note!(self.note_quarantined(node, life));
        self.gate.quarantine(node, life.unwrap_or_default());
        if let Some(stream) = self.members.remove(&node).and_then(|member| member.transfer) {
            self.fetches.remove(&stream);
            out.streams.push((stream, StreamAction::Abort));
        }
        // What it relayed of another is half done, too.
        let is_half_done = |id: &StreamId| self.fetches.get(id).is_none_or(|fetch| fetch.giver() == node);
        let owners =
            self.members.values().filter(|member| member.transfer.as_ref().is_some_and(is_half_done));
        for owner in owners.map(|member| member.node).collect::<Vec<_>>() {
            note!(self.note_turn(owner, Turn::Dropped));
            self.drop_member(owner, out);
        }
        let replica = &self.replica;
        // Again unwind safe: nothing of the node is looked at after this, whether it is gone or not.
        let _ = catch_unwind(AssertUnwindSafe(|| replica.forget(node)));
        self.purging = true;
        self.version += 1;
    }

    /// Whether what a node says is dropped because of its quarantine: all of it, but for the announcement of a new life.
    pub(super) fn is_quarantined(&mut self, node: NodeId, frames: &[Frame<'_>]) -> bool {
        let Some(life) = self.gate.quarantined_life(node) else {
            return false;
        };
        if self.members.contains_key(&node) {
            return false;
        }
        let is_new = |frame: &Frame<'_>| match frame {
            Frame::Hello(hello) => {
                hello.flags & wire::Hello::JOINING != 0 || Incarnation::from_u64(hello.incarnation) > life
            }
            _ => false,
        };
        let drop = !frames.iter().all(is_new);
        self.stats.quarantined += u64::from(drop);
        drop
    }

    /// Whether this node takes part at all.
    pub(super) fn listens(&self) -> bool {
        matches!(self.phase, Phase::Listening { .. } | Phase::Live)
    }
}
