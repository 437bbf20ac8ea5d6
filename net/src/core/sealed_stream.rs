//! Sealed streams: what stands between the bytes on a connection and the messages of a snapshot.
//!
//! Each side says a preamble in clear, with a salt. The keys of both directions come from the epoch's key, the asker's session and both
//! salts; then everything is records, which are counted. The asker's request waits for the giver's salt, so that an old request played
//! again opens nothing. Without keys everything passes as it is.

use super::Core;
use super::gate::count;
use super::io::{Output, StreamAction, StreamId, StreamInput, Time};
use crate::crypto::{Direction, SALT_LEN, SenderId, SenderKey};
use crate::wire::{Preamble, RecordBuffer, WireError, put_records};

/// How far the two sides of a stream have come.
#[derive(Debug)]
enum State {
    /// This node has connected, and waits for the other's preamble. `first` is what it will say then.
    Asking { me: SenderId, salt: [u8; SALT_LEN], epoch: u16, first: Vec<u8> },
    /// Somebody has connected, and is to say his preamble.
    Giving,
    /// Both preambles are said.
    Open(Box<Open>),
}

/// An open stream: its keys, and how many records this node has sealed.
#[derive(Debug)]
struct Open {
    seal: SenderKey,
    sealed: u64,
    open: SenderKey,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct SealedStream {
    state: State,
    buffer: RecordBuffer,
}

impl SealedStream {
    fn new(state: State) -> Self {
        Self { state, buffer: RecordBuffer::default() }
    }
}

impl Core {
    /// Something happened to a stream; it may be sealed.
    pub(super) fn on_any_stream(
        &mut self,
        now: Time,
        id: StreamId,
        input: StreamInput<'_>,
        out: &mut Output,
    ) {
        if self.gate.keys.is_none() {
            self.on_stream(now, id, input, out);
            return;
        }
        match input {
            StreamInput::Bytes(bytes) => {
                let Some(mut stream) = self.sealed_streams.remove(&id) else {
                    return;
                };
                stream.buffer.push(bytes);
                let opened = self.open_records(now, id, &mut stream, out);
                // The end of the stream, if it is in `out`, takes it away again.
                self.sealed_streams.insert(id, stream);
                if count(opened, &mut self.stats).is_none() {
                    out.streams.push((id, StreamAction::Abort));
                    self.on_stream(now, id, StreamInput::Closed, out);
                }
            }
            StreamInput::Accepted => {
                self.sealed_streams.insert(id, SealedStream::new(State::Giving));
                self.on_stream(now, id, input, out);
            }
            StreamInput::Closed => {
                self.sealed_streams.remove(&id);
                self.on_stream(now, id, input, out);
            }
            StreamInput::Writable => self.on_stream(now, id, input, out),
        }
    }

    fn open_records(
        &mut self,
        now: Time,
        id: StreamId,
        stream: &mut SealedStream,
        out: &mut Output,
    ) -> Result<(), WireError> {
        if !matches!(stream.state, State::Open(_)) {
            let Some(preamble) = stream.buffer.preamble() else {
                return Ok(());
            };
            let state = std::mem::replace(&mut stream.state, State::Giving);
            stream.state = self.shake_hands(id, state, &preamble?, out)?;
        }
        if let State::Open(keys) = &stream.state {
            while let Some(content) = stream.buffer.next(&keys.open)? {
                self.on_stream(now, id, StreamInput::Bytes(content), out);
            }
        }
        Ok(())
    }

    /// Both preambles are known: the giver answers with his, the asker says what it came for.
    fn shake_hands(
        &mut self,
        id: StreamId,
        state: State,
        theirs: &Preamble,
        out: &mut Output,
    ) -> Result<State, WireError> {
        #[cfg(test)]
        self.gate.stumble_at("handshake");
        if theirs.cluster != self.settings.cluster {
            return Err(WireError::Cluster);
        }
        let salt = self.gate.salt();
        let keys = self.gate.keys.as_ref().ok_or(WireError::NoKey)?;
        let key = keys.get(theirs.key_epoch).ok_or(WireError::NoKey)?;
        let both = |asker: [u8; SALT_LEN], giver: [u8; SALT_LEN]| {
            let mut salts = [0; 2 * SALT_LEN];
            salts[..SALT_LEN].copy_from_slice(&asker);
            salts[SALT_LEN..].copy_from_slice(&giver);
            salts
        };
        let (asker, salts, sealing, opening) = match state {
            State::Asking { me, salt, epoch, first } => {
                if theirs.key_epoch != epoch {
                    return Err(WireError::NoKey);
                }
                out.streams.push((id, StreamAction::Send(first)));
                (me, both(salt, theirs.salt), Direction::Asking, Direction::Giving)
            }
            State::Giving | State::Open(_) => {
                let mine = Preamble { node: self.node.0, session: self.session, salt, ..*theirs };
                out.streams.push((id, StreamAction::Greet(mine.encode())));
                let asker = SenderId { node: theirs.node, session: theirs.session };
                (asker, both(theirs.salt, salt), Direction::Giving, Direction::Asking)
            }
        };
        let (seal, open) = (key.stream(sealing, asker, &salts), key.stream(opening, asker, &salts));
        Ok(State::Open(Box::new(Open { seal, sealed: 0, open })))
    }

    /// Seals what a core has said to its streams, from `first` on.
    pub(super) fn seal_streams(&mut self, out: &mut Output, first: usize) {
        if self.gate.keys.is_none() {
            return;
        }
        for at in first..out.streams.len() {
            let (id, action) = &mut out.streams[at];
            match action {
                StreamAction::Connect { first, .. } => {
                    let request = std::mem::take(first);
                    let salt = self.gate.salt();
                    let Some(keys) = &self.gate.keys else { return };
                    let me = SenderId { node: self.node.0, session: self.session };
                    let preamble = Preamble {
                        cluster: self.settings.cluster,
                        key_epoch: keys.current(),
                        node: me.node,
                        session: me.session,
                        salt,
                    };
                    *first = preamble.encode();
                    let state = State::Asking { me, salt, epoch: keys.current(), first: request };
                    self.sealed_streams.insert(*id, SealedStream::new(state));
                }
                StreamAction::Send(bytes) => {
                    let content = std::mem::take(bytes);
                    if let Some(SealedStream { state: State::Open(keys), .. }) =
                        self.sealed_streams.get_mut(id)
                    {
                        let Open { seal, sealed, .. } = &mut **keys;
                        put_records(bytes, seal, sealed, &content);
                    }
                }
                StreamAction::Greet(_) => {}
                StreamAction::Finish | StreamAction::Abort => {
                    self.sealed_streams.remove(id);
                }
            }
        }
    }
}
