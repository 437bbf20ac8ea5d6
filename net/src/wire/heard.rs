//! Heard: what the sender hears of others. It is the indirect evidence of life, and the acknowledgement that barriers wait for.
//!
//! A report names its member by the low half of that member's session, which stands for the node and for its life at once: what is
//! said of one life is never taken for another. A member takes 7 to 8 bytes so, of which 3 to 4 are the report itself.

use std::time::Duration;

use super::WireError;
use super::frame::{HEARD, put_frame};
use super::varint::{Reader, put_list, put_varint, varint_len};

/// The unit of a report's age.
const AGE_UNIT_MS: u64 = 32;

/// What the sender hears of others: as many of them as there was room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// [`Heard::ANSWER_WANTED`]; other bits are a later version's and are kept.
    pub(crate) flags: u8,
    pub(crate) reports: Vec<Report>,
}

/// What the sender hears of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// The low half of the member's session.
    pub(crate) session: u32,
    /// How long ago the member was heard, in units of 32 ms, rounded up; 255 = longer than can be said.
    pub(crate) age: u8,
    /// The last of its heartbeats whose clocks the sender has reached in every lane, in plain sight; 0 = none.
    pub(crate) covered: u64,
}

impl Heard {
    /// The receivers shall say soon what they have covered: somebody waits for it.
    pub(crate) const ANSWER_WANTED: u8 = 1;
    /// What a frame takes beside its reports, as long as they are below 16 KiB.
    pub(crate) const OVERHEAD: usize = 1 + 3 + 1 + 2;

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, HEARD, |out| {
            out.push(self.flags);
            put_list(out, &self.reports, |out, report| {
                out.extend_from_slice(&report.session.to_le_bytes());
                out.push(report.age);
                put_varint(out, report.covered);
            });
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let frame = Self {
            flags: reader.u8()?,
            reports: reader.list(6, |reader| {
                Ok(Report { session: reader.u32()?, age: reader.u8()?, covered: reader.varint()? })
            })?,
        };
        reader.finish()?;
        Ok(frame)
    }
}

impl Report {
    /// An age as a report has it: never younger than it is.
    pub(crate) fn age_of(silence: Duration) -> u8 {
        let units = silence.as_millis().div_ceil(u128::from(AGE_UNIT_MS));
        u8::try_from(units).unwrap_or(u8::MAX)
    }

    /// How long ago the member was heard at most. `None`: longer than can be said.
    pub(crate) fn silence(&self) -> Option<Duration> {
        (self.age < u8::MAX).then(|| Duration::from_millis(u64::from(self.age) * AGE_UNIT_MS))
    }

    /// The name that a session has in reports.
    pub(crate) fn name_of(session: u64) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let name = session as u32;
        name
    }

    /// Bytes that it takes.
    pub(crate) fn len(&self) -> usize {
        4 + 1 + varint_len(self.covered)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::Frame;
    use crate::wire::frame::tests::{decoded, put_all};

    pub(in super::super) fn any_heard() -> impl Strategy<Value = Heard> {
        let report =
            any::<(u32, u8, u64)>().prop_map(|(session, age, covered)| Report { session, age, covered });
        (any::<u8>(), vec(report, 0..20)).prop_map(|(flags, reports)| Heard { flags, reports })
    }

    #[test]
    fn heard_bytes_are_as_the_table_says() {
        let report = Report { session: 0x0403_0201, age: 5, covered: 300 };
        let body = put_all(&[Frame::Heard(Heard { flags: Heard::ANSWER_WANTED, reports: vec![report] })]);
        assert_eq!(body, [10, 9, 1, 1, 1, 2, 3, 4, 5, 0xAC, 0x02]);
        assert_eq!(report.len(), 7);
    }

    #[test]
    fn more_reports_claimed_than_there_are_bytes_are_refused() {
        assert_eq!(decoded(&[10, 2, 0, 1]), Err(WireError::Truncated));
        assert_eq!(decoded(&[10, 3, 0, 0, 0]), Err(WireError::Trailing));
    }

    #[test]
    fn an_age_is_rounded_up_and_ends_at_longer_than_can_be_said() {
        let silence =
            |ms| Report { session: 0, age: Report::age_of(Duration::from_millis(ms)), covered: 0 }.silence();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!([silence(0), silence(1), silence(32), silence(33)], [ms(0), ms(32), ms(32), ms(64)]);
        assert_eq!([silence(8_128), silence(8_129), silence(1 << 40)], [ms(8_128), None, None]);
    }

    proptest! {
        #[test]
        fn a_frame_takes_what_its_reports_say(heard in any_heard()) {
            let body = put_all(&[Frame::Heard(heard.clone())]);
            let reports: usize = heard.reports.iter().map(Report::len).sum();
            prop_assert!(body.len() <= Heard::OVERHEAD + reports);
        }
    }
}
