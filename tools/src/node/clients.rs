//! What a node counts of its clients, for STATS and for whoever reads its counters file.

use headcount::counters::{Counters, Field, Number, Schema};

const CLIENTS: Schema = Schema {
    name: "clients",
    help: "The clients of the node's line protocol.",
    fields: &[
        Field::gauge("connections", "connections", "Clients connected at present."),
        Field::counter("accepted_total", "connections", "Clients accepted."),
        Field::counter(
            "turned_away_total",
            "connections",
            "Clients turned away, as many were connected as may be.",
        ),
        Field::counter("accept_errors_total", "errors", "Times that the system could not accept a client."),
        Field::counter("requests_total", "requests", "Lines executed, refused ones included."),
        Field::counter("refused_total", "requests", "Lines refused."),
        Field::counter("received_bytes_total", "bytes", "Bytes that clients sent."),
        Field::counter("sent_bytes_total", "bytes", "Bytes that clients were sent."),
    ],
};

/// See the module's documentation. The thread of the clients alone counts.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) connections: Number,
    pub(crate) accepted: Number,
    pub(crate) turned_away: Number,
    pub(crate) accept_errors: Number,
    pub(crate) requests: Number,
    pub(crate) refused: Number,
    pub(crate) received_bytes: Number,
    pub(crate) sent_bytes: Number,
}

impl Clients {
    pub(crate) fn new(counters: &Counters) -> Self {
        let row = counters.table(&CLIENTS, 1).row(0);
        row.show();
        Self {
            connections: row.number("connections"),
            accepted: row.number("accepted_total"),
            turned_away: row.number("turned_away_total"),
            accept_errors: row.number("accept_errors_total"),
            requests: row.number("requests_total"),
            refused: row.number("refused_total"),
            received_bytes: row.number("received_bytes_total"),
            sent_bytes: row.number("sent_bytes_total"),
        }
    }

    /// Every number with the name that STATS has for it.
    pub(crate) fn all(&self) -> [(&'static str, u64); 8] {
        [
            ("connections", self.connections.get()),
            ("accepted_total", self.accepted.get()),
            ("turned_away_total", self.turned_away.get()),
            ("accept_errors_total", self.accept_errors.get()),
            ("requests_total", self.requests.get()),
            ("refused_total", self.refused.get()),
            ("received_bytes_total", self.received_bytes.get()),
            ("sent_bytes_total", self.sent_bytes.get()),
        ]
    }
}
