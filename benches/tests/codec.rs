//! What an operation may cost on the wire, in full datagrams, header and tag included: nothing here is timed.

use headcount_benches::traffic::TRAFFIC;
use headcount_net::codec::decode_delta;

/// Operations that are weighed of each kind of traffic.
const WEIGHED: usize = 20_000;

/// Traffic that cannot be told within 6 B a join, and what it is held to instead.
const DEARER: [(&str, f64); 3] = [
    // A name that the receiver cannot guess: 20 bits say which of a million it is, 28 which six letters.
    ("joins, a million topics", 7.5),
    ("joins, 1,000 topics without numbers", 11.1),
    // A frame of its own for every join or two: a lane and its clock each.
    ("joins, 1,000 topics in turn, 16 lanes, 22 at once", 9.0),
];

#[test]
fn a_join_takes_6_bytes_beside_key_and_meta_and_a_leave_4_in_full_sealed_datagrams() {
    for traffic in TRAFFIC {
        let (_, weight) = traffic.told(WEIGHED).pack();
        assert!(weight.datagrams >= 10, "{}: {weight:?}", traffic.name);
        let dearer = DEARER.iter().find(|(name, _)| *name == traffic.name);
        let bound = dearer.map_or(weight.bound(), |&(_, bound)| bound);
        let over = weight.sealed();
        // Updates have no bound: their weight is that of a join without a key.
        assert!(over <= if bound == 0.0 { 6.0 } else { bound }, "{}: {over:.2} B over", traffic.name);
        assert!(dearer.is_none() || over > weight.bound(), "{} is no exception any more", traffic.name);
    }
}

#[test]
fn what_was_weighed_is_what_is_read() {
    for traffic in TRAFFIC {
        let (bodies, weight) = traffic.told(WEIGHED).pack();
        let read = |bodies: &[Vec<u8>]| -> usize {
            bodies.iter().map(|body| decode_delta(body).expect("it was encoded here")).sum()
        };
        assert_eq!(read(&bodies), WEIGHED, "{}", traffic.name);
        assert_eq!(read(&bodies[..weight.datagrams]), weight.operations, "{}", traffic.name);
        assert!(bodies.iter().all(|body| body.len() <= 1_154), "{}", traffic.name);
    }
}
