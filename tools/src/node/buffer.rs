//! What a connection has received and not yet read, and what it has to send.

use headcount_tools::line::LINE_LEN_MAX;
use std::io::{self, ErrorKind, Write};

/// A buffer that grew beyond this gives its memory back when it is empty: most connections are idle.
const KEEP_CAPACITY: usize = 8 * 1024;

/// Received bytes, cut into lines. Bounded, because nothing is added while it still has a whole line.
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    /// Where the next line starts.
    start: usize,
    /// How far its end was looked for.
    searched: usize,
    /// Whether the rest of a line that was too long is being skipped.
    skipping: bool,
}

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Text(&'a [u8]),
    TooLong,
}

impl Input {
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, or the news that one is too long, as soon as that is certain.
    pub(crate) fn next_line(&mut self) -> Option<Line<'_>> {
        loop {
            let Some(end) = self.bytes[self.searched..].iter().position(|&byte| byte == b'\n') else {
                return self.no_end_yet();
            };
            let (start, end) = (self.start, self.searched + end);
            self.start = end + 1;
            self.searched = self.start;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            let line = &self.bytes[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            return Some(if line.len() > LINE_LEN_MAX { Line::TooLong } else { Line::Text(line) });
        }
    }

    fn no_end_yet(&mut self) -> Option<Line<'_>> {
        self.searched = self.bytes.len();
        // One byte more may be the \r of a line that just fits.
        let too_long = self.searched - self.start > LINE_LEN_MAX + 1;
        if self.skipping || too_long || self.start == self.searched {
            self.clear();
        }
        let news = too_long && !self.skipping;
        self.skipping |= too_long;
        news.then_some(Line::TooLong)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEEP_CAPACITY {
            self.bytes = Vec::new();
        }
        self.start = 0;
        self.searched = 0;
    }
}

/// Bytes to send. Its owner adds nothing while too much is pending.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    start: usize,
    sent_total: u64,
}

impl Output {
    /// Where to append. What was sent is dropped first, so that the buffer does not creep.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        &mut self.bytes
    }

    pub(crate) fn pending(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Bytes sent since the beginning: tells progress from a stall.
    pub(crate) fn sent_total(&self) -> u64 {
        self.sent_total
    }

    /// Sends until everything is sent (true) or the socket takes no more (false).
    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        while self.start < self.bytes.len() {
            match socket.write(&self.bytes[self.start..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    self.start += sent;
                    self.sent_total += sent as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.start = 0;
        if self.bytes.capacity() > KEEP_CAPACITY {
            self.bytes = Vec::new();
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &mut Input) -> Vec<Option<Vec<u8>>> {
        let mut found = Vec::new();
        while let Some(line) = input.next_line() {
            found.push(match line {
                Line::Text(line) => Some(line.to_vec()),
                Line::TooLong => None,
            });
        }
        found
    }

    #[test]
    fn lines_come_whole_however_the_bytes_arrive() {
        let mut input = Input::default();
        let mut found = Vec::new();
        for byte in b"PING\r\n\nLIST a\nrest" {
            input.extend(&[*byte]);
            found.extend(lines(&mut input).into_iter().flatten());
        }
        assert_eq!(found, [&b"PING"[..], b"", b"LIST a"]);
        input.extend(b" of it\n");
        assert_eq!(lines(&mut input), [Some(b"rest of it".to_vec())]);
    }

    #[test]
    fn a_line_that_is_too_long_is_told_once_and_skipped_to_its_end() {
        for step in [1, 7, 4096, 4097, 4098, 100_000] {
            let mut stream = vec![b'x'; LINE_LEN_MAX];
            stream.extend_from_slice(b"\r\n");
            stream.extend_from_slice(&[b'y'; 3 * LINE_LEN_MAX]);
            stream.extend_from_slice(b"\n");
            stream.extend_from_slice(&[b'z'; LINE_LEN_MAX + 1]);
            stream.extend_from_slice(b"\nPING\n");
            let mut input = Input::default();
            let mut found = Vec::new();
            for bytes in stream.chunks(step) {
                input.extend(bytes);
                found.extend(lines(&mut input));
            }
            let expected = [Some(vec![b'x'; LINE_LEN_MAX]), None, None, Some(b"PING".to_vec())];
            assert_eq!(found, expected, "in steps of {step}");
            assert!(input.bytes.len() <= LINE_LEN_MAX + 1);
        }
    }

    #[test]
    fn output_survives_a_socket_that_takes_little() {
        struct Trickle(Vec<u8>, bool);
        impl Write for Trickle {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1 = !self.1;
                if self.1 {
                    return Err(ErrorKind::WouldBlock.into());
                }
                let taken = bytes.len().min(3);
                self.0.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut socket = Trickle(Vec::new(), false);
        let mut output = Output::default();
        let mut expected = Vec::new();
        for word in ["one ", "two ", "three ", "four"] {
            output.bytes().extend_from_slice(word.as_bytes());
            expected.extend_from_slice(word.as_bytes());
            let _ = output.flush(&mut socket).unwrap();
        }
        while !output.flush(&mut socket).unwrap() {}
        assert_eq!(socket.0, expected);
        assert_eq!((output.pending(), output.sent_total()), (0, expected.len() as u64));
    }
}
