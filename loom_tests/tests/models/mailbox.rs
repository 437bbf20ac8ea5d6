//! The mailbox: filled by many, emptied by one.

use super::task::{WakeCount, block_on};
use crate::kernel::mailbox::Mailbox;
use headcount_loom_tests::Symptom::Deadlock;
use headcount_loom_tests::{Effort, Model};
use loom::thread;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

pub(crate) const MODELS: &[Model] = &[
    model!(
        every_item_arrives_in_order,
        mailbox::CLEAR_BEFORE_SLEEP => Deadlock,
        bell::BLIND_STORE => Deadlock,
        bell::RING_IN_TWO_STEPS => Deadlock,
    ),
    model!(
        one_ring_tells_of_a_batch,
        mailbox::CLEAR_BEFORE_SLEEP => Deadlock,
    ),
    model!(
        two_fillers_are_both_read,
        mailbox::CLEAR_BEFORE_SLEEP => Deadlock,
        bell::NOTIFY_UNLOCKED => Deadlock,
    ),
    model!(
        a_close_comes_after_what_was_filled_before,
        mailbox::CLEAR_BEFORE_SLEEP => Deadlock,
    ),
    model!(
        a_task_is_woken_for_every_item,
        mailbox::PENDING_UNREGISTERED => Deadlock,
        bell::WAKER_AFTER_STATE => Deadlock,
        bell::BLIND_STORE => Deadlock,
    ),
    model!(
        a_task_hears_two_fillers,
        mailbox::PENDING_UNREGISTERED => Deadlock,
        bell::WAKER_AFTER_STATE => Deadlock,
    ),
    model!(
        a_reader_whose_time_ran_out_loses_nothing,
        mailbox::CLEAR_BEFORE_SLEEP => Deadlock,
        bell::BLIND_STORE => Deadlock,
    ),
    model!(
        a_reader_that_polled_may_wait,
        mailbox::CLEAR_BEFORE_SLEEP => Deadlock,
        bell::NOTIFY_UNLOCKED => Deadlock,
    ),
];

#[derive(Default)]
struct Buffer {
    items: VecDeque<u32>,
    closed: bool,
}

/// `Some(None)`: closed, and everything was read.
fn look(buffer: &mut Buffer) -> Option<Option<u32>> {
    buffer.items.pop_front().map(Some).or_else(|| buffer.closed.then_some(None))
}

fn mailbox<const FAULT: u8>() -> Arc<Mailbox<Buffer, FAULT>> {
    Arc::new(Mailbox::new(Buffer::default()))
}

fn ring<const FAULT: u8>(mailbox: &Mailbox<Buffer, FAULT>) {
    if let Some(waker) = mailbox.ring() {
        waker.wake();
    }
}

/// Starts a filler of `items`, which rings after each.
fn filler<const FAULT: u8>(
    mailbox: &Arc<Mailbox<Buffer, FAULT>>,
    items: std::ops::Range<u32>,
) -> thread::JoinHandle<()> {
    let mailbox = Arc::clone(mailbox);
    thread::spawn(move || {
        for item in items {
            mailbox.with(|buffer| buffer.items.push_back(item));
            ring(&mailbox);
        }
    })
}

fn every_item_arrives_in_order<const FAULT: u8>(effort: Effort) {
    let items = effort.size(2, 3);
    effort.explore(move || {
        let mailbox = mailbox::<FAULT>();
        let filler = filler(&mailbox, 0..items);
        for item in 0..items {
            assert_eq!(mailbox.wait(look), Some(item));
        }
        filler.join().unwrap();
    });
}

/// A writer fills while it holds its shard's lock, as often as its change has events, and rings once after it.
fn one_ring_tells_of_a_batch<const FAULT: u8>(effort: Effort) {
    effort.explore(|| {
        let mailbox = mailbox::<FAULT>();
        let filler = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                mailbox.with(|buffer| buffer.items.push_back(0));
                mailbox.with(|buffer| buffer.items.push_back(1));
                ring(&mailbox);
            }
        });
        assert_eq!(mailbox.wait(look), Some(0));
        assert_eq!(mailbox.wait(look), Some(1));
        filler.join().unwrap();
    });
}

fn two_fillers_are_both_read<const FAULT: u8>(effort: Effort) {
    effort.explore_bounded(2, || {
        let mailbox = mailbox::<FAULT>();
        let fillers = [filler(&mailbox, 0..1), filler(&mailbox, 1..2)];
        let mut read = [mailbox.wait(look), mailbox.wait(look)];
        read.sort_unstable();
        assert_eq!(read, [Some(0), Some(1)]);
        for filler in fillers {
            filler.join().unwrap();
        }
    });
}

fn a_close_comes_after_what_was_filled_before<const FAULT: u8>(effort: Effort) {
    effort.explore(|| {
        let mailbox = mailbox::<FAULT>();
        let filler = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                mailbox.with(|buffer| buffer.items.push_back(0));
                ring(&mailbox);
                mailbox.with(|buffer| buffer.closed = true);
                ring(&mailbox);
            }
        });
        assert_eq!(mailbox.wait(look), Some(0));
        assert_eq!(mailbox.wait(look), None);
        assert_eq!(mailbox.wait(look), None, "closed is for ever");
        filler.join().unwrap();
    });
}

fn a_task_is_woken_for_every_item<const FAULT: u8>(effort: Effort) {
    let model = |items| {
        move || {
            let mailbox = mailbox::<FAULT>();
            let filler = filler(&mailbox, 0..items);
            for item in 0..items {
                assert_eq!(block_on(|context| mailbox.poll(context, look)), Some(item));
            }
            filler.join().unwrap();
        }
    };
    effort.explore(model(2));
    if effort.is_deep() {
        effort.explore_bounded(2, model(3)); // All of it had not ended after four minutes.
    }
}

fn a_task_hears_two_fillers<const FAULT: u8>(effort: Effort) {
    effort.explore_bounded(2, || {
        let mailbox = mailbox::<FAULT>();
        let fillers = [filler(&mailbox, 0..1), filler(&mailbox, 1..2)];
        let mut read = [0; 2].map(|_| block_on(|context| mailbox.poll(context, look)));
        read.sort_unstable();
        assert_eq!(read, [Some(0), Some(1)]);
        for filler in fillers {
            filler.join().unwrap();
        }
    });
}

fn a_reader_whose_time_ran_out_loses_nothing<const FAULT: u8>(effort: Effort) {
    let items = effort.size(1, 2);
    effort.explore(move || {
        let mailbox = mailbox::<FAULT>();
        let filler = filler(&mailbox, 0..items);
        for item in 0..items {
            let in_time = mailbox.wait_until(Instant::now(), look);
            assert_eq!(in_time.unwrap_or_else(|| mailbox.wait(look)), Some(item));
        }
        filler.join().unwrap();
    });
}

fn a_reader_that_polled_may_wait<const FAULT: u8>(effort: Effort) {
    effort.explore(|| {
        let mailbox = mailbox::<FAULT>();
        let filler = filler(&mailbox, 0..1);
        let waker = Waker::from(Arc::new(WakeCount::default()));
        let read = match mailbox.poll(&mut Context::from_waker(&waker), look) {
            Poll::Ready(read) => read,
            Poll::Pending => mailbox.wait(look),
        };
        assert_eq!(read, Some(0));
        filler.join().unwrap();
    });
}
