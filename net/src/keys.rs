//! The cluster's keys: where they come from, and what they look like.
//!
//! A key is 32 random bytes that every node of the cluster has. Keys have epochs, so that they can be changed while the cluster works:
//! install the new one everywhere, use it, remove the old one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a key.
pub(crate) const KEY_LEN: usize = 32;
/// Keys that a node holds at once: the one in use, those before it that others still use, and those to come.
pub(crate) const EPOCHS_MAX: usize = 4;
/// A file of keys is shorter than this.
const TEXT_LEN_MAX: u64 = 4096;

/// The bytes of one key. They are overwritten when it is dropped.
pub(crate) type Secret = Zeroizing<[u8; KEY_LEN]>;

/// The keys of a cluster, one for each epoch. What they are is not shown by `Debug`, and is overwritten in memory when they are dropped.
///
/// Their text has one line for each: the epoch (1 to 65535), a colon, and 32 bytes as 64 hexadecimal digits or in base64. The key of the
/// *first* line is the one to seal with; all of them are accepted from others. Empty lines and lines that begin with `#` are passed
/// over; in an environment variable, commas do for line ends. At most four.
///
/// ```
/// let text = headcount_net::Keys::generate(1)?;
/// let keys = headcount_net::Keys::parse(text.expose())?;
/// assert_eq!(keys.epochs(), [1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Keys {
    first: u16,
    by_epoch: BTreeMap<u16, Secret>,
}

/// A line of a key file, with its key. `Debug` does not show it, and it is overwritten in memory when it is dropped.
#[derive(Clone)]
pub struct KeyText(Zeroizing<String>);

/// Why keys were refused. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key file cannot be read.
    #[error("key_file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner can read or write the key file.
    #[error("key_file {}: its mode is {mode:04o}, so others than its owner have access; `chmod 600` it", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The environment variable is not set, or is not UTF-8.
    #[error("environment variable {name} is not set, or not UTF-8")]
    Environment {
        /// Its name.
        name: String,
    },
    /// The text of the keys is not as it must be. The text itself is not told: it may be a key.
    #[error("keys, line {line}: {why}")]
    Format {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no key, or more than four.
    #[error("{count} keys, there must be 1 to {max}", max = EPOCHS_MAX)]
    Count {
        /// How many.
        count: usize,
    },
    /// Another key has this epoch already.
    #[error("epoch {epoch} has another key already")]
    EpochTaken {
        /// The epoch.
        epoch: u16,
    },
    /// This node has no key of that epoch.
    #[error("no key of epoch {epoch} is installed")]
    Unknown {
        /// The epoch.
        epoch: u16,
    },
    /// The node joined without a key: it speaks in clear, and cannot change that while it runs.
    #[error("the node has joined without a key")]
    NoKeys,
    /// Some members do not have the key of that epoch yet: they could not read what would be sealed with it.
    #[error("the key of epoch {epoch} is not known to {}", members.join(", "))]
    NotEverywhere {
        /// The epoch.
        epoch: u16,
        /// The names of the members.
        members: Vec<String>,
    },
    /// This node or some members still seal with the key of that epoch.
    #[error("the key of epoch {epoch} is in use by {}", members.join(", "))]
    InUse {
        /// The epoch.
        epoch: u16,
        /// Their names.
        members: Vec<String>,
    },
    /// The node is no longer a member.
    #[error("the node is not a member any more")]
    Left,
}

impl Keys {
    /// Reads keys from a file that nobody but its owner may read.
    ///
    /// # Errors
    /// [`KeyError`]: it cannot be read, others can read it too, or it does not hold keys.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let refused = |source| KeyError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(refused)?;
        // Of the file that is open, not of whatever has its name by now.
        let about = file.metadata().map_err(refused)?;
        if !about.is_file() {
            return Err(refused(io::Error::other("it is not a regular file")));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = about.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                return Err(KeyError::Permissions { path: path.to_owned(), mode });
            }
        }
        // Room for all of it at once: a buffer that grows would leave copies behind.
        let mut text = Zeroizing::new(String::with_capacity(TEXT_LEN_MAX as usize + 64));
        file.take(TEXT_LEN_MAX + 1).read_to_string(&mut text).map_err(refused)?;
        if text.len() as u64 > TEXT_LEN_MAX {
            return Err(refused(io::Error::other("it is longer than 4096 bytes")));
        }
        Self::parse(&text)
    }

    /// Reads keys from an environment variable.
    ///
    /// # Errors
    /// [`KeyError`]: it is not set, or does not hold keys.
    pub fn from_env(name: &str) -> Result<Self, KeyError> {
        let text = std::env::var(name).map_err(|_| KeyError::Environment { name: name.to_owned() })?;
        Self::parse(&Zeroizing::new(text))
    }

    /// Reads keys from their text.
    ///
    /// # Errors
    /// [`KeyError::Format`], [`KeyError::Count`] or [`KeyError::EpochTaken`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut first = None;
        let mut by_epoch = BTreeMap::new();
        for (line, words) in (1..).zip(text.split(['\n', ','])) {
            let words = words.trim();
            if words.is_empty() || words.starts_with('#') {
                continue;
            }
            let wrong = |why| KeyError::Format { line, why };
            let (epoch, key) = words
                .split_once(':')
                .ok_or_else(|| wrong("it is not EPOCH:KEY, such as 1:00ff… with 64 digits"))?;
            let epoch = epoch.trim().parse().ok().filter(|&epoch: &u16| epoch > 0);
            let epoch = epoch.ok_or_else(|| wrong("the epoch is not a number from 1 to 65535"))?;
            let key = decode(key.trim())
                .ok_or_else(|| wrong("the key is not 32 bytes as 64 hexadecimal digits or in base64"))?;
            if by_epoch.insert(epoch, key).is_some() {
                return Err(KeyError::EpochTaken { epoch });
            }
            first.get_or_insert(epoch);
        }
        match first {
            Some(first) if by_epoch.len() <= EPOCHS_MAX => Ok(Self { first, by_epoch }),
            _ => Err(KeyError::Count { count: by_epoch.len() }),
        }
    }

    /// A line for a key file with a fresh key, from the system's randomness.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate(epoch: u16) -> io::Result<KeyText> {
        let mut key = Secret::default();
        getrandom::fill(&mut key[..]).map_err(io::Error::other)?;
        let mut text = Zeroizing::new(String::with_capacity(6 + 2 * KEY_LEN));
        text.push_str(&epoch.max(1).to_string());
        text.push(':');
        for byte in key.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        Ok(KeyText(text))
    }

    /// The epochs that there are keys of, ascending.
    #[must_use]
    pub fn epochs(&self) -> Vec<u16> {
        self.by_epoch.keys().copied().collect()
    }

    /// The epoch to seal with.
    #[must_use]
    pub fn first_epoch(&self) -> u16 {
        self.first
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &Secret)> {
        self.by_epoch.iter().map(|(&epoch, key)| (epoch, key))
    }
}

impl KeyText {
    /// The line itself: the epoch, a colon, 64 hexadecimal digits.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(..)")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("epochs", &self.epochs()).finish_non_exhaustive()
    }
}

fn decode(text: &str) -> Option<Secret> {
    if text.len() == 2 * KEY_LEN {
        hex(text.as_bytes())
    } else {
        base64(text.trim_end_matches('=').as_bytes())
    }
}

fn hex(text: &[u8]) -> Option<Secret> {
    let mut key = Secret::default();
    for (byte, digits) in key.iter_mut().zip(text.chunks_exact(2)) {
        let digit =
            |at: usize| char::from(digits[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(key)
}

/// 43 characters of 6 bits are 32 bytes and two bits, which must be 0.
fn base64(text: &[u8]) -> Option<Secret> {
    if text.len() != 43 {
        return None;
    }
    let mut key = Secret::default();
    let (mut bits, mut held, mut at) = (0_u32, 0_u32, 0);
    for &symbol in text {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            key[at] = (bits >> held & 0xFF) as u8;
            at += 1;
            bits &= (1 << held) - 1;
        }
    }
    let whole = bits == 0;
    bits.zeroize();
    whole.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eFF";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=";

    fn refusal(text: &str) -> String {
        Keys::parse(text).expect_err("must be refused").to_string()
    }

    #[test]
    fn lines_are_epochs_with_keys_in_either_spelling_and_the_first_is_used() {
        let keys = Keys::parse(&format!("# ours\n\n 7:{HEX}\n3 : {BASE64}\n")).unwrap();
        assert_eq!((keys.first_epoch(), keys.epochs()), (7, vec![3, 7]));
        let bytes: Vec<_> = keys.iter().map(|(_, key)| **key).collect();
        assert_eq!(bytes[0], bytes[1]);
        assert_eq!((bytes[0][1], bytes[0][31]), (1, 0xFF));
        assert_eq!(Keys::parse(&format!("1:{HEX},2:{HEX}")).unwrap().epochs(), [1, 2]);
    }

    #[test]
    fn what_is_no_key_is_refused_by_line_and_never_repeated() {
        assert_eq!(refusal(""), "0 keys, there must be 1 to 4");
        assert!(refusal("\nsecret").starts_with("keys, line 2: it is not EPOCH:KEY"));
        assert!(refusal(&format!("0:{HEX}")).contains("the epoch is not a number"));
        assert!(refusal(&format!("65536:{HEX}")).contains("the epoch is not a number"));
        for bad in [&HEX[..63], &format!("{}g", &HEX[..63]), &BASE64[..42], "", &BASE64.replace("v8=", "v9=")]
        {
            let said = refusal(&format!("1:{bad}"));
            assert_eq!(said, "keys, line 1: the key is not 32 bytes as 64 hexadecimal digits or in base64");
        }
        assert_eq!(refusal(&format!("1:{HEX}\n1:{HEX}")), "epoch 1 has another key already");
        let five: Vec<_> = (1..6).map(|epoch| format!("{epoch}:{HEX}")).collect();
        assert_eq!(refusal(&five.join("\n")), "5 keys, there must be 1 to 4");
    }

    #[test]
    fn debug_shows_no_key() {
        let keys = Keys::parse(&format!("1:{HEX}")).unwrap();
        assert_eq!(format!("{keys:?}"), "Keys { epochs: [1], .. }");
        assert_eq!(format!("{:?}", Keys::generate(1).unwrap()), "KeyText(..)");
    }

    #[test]
    fn fresh_keys_are_keys_and_differ() {
        let (one, other) = (Keys::generate(9).unwrap(), Keys::generate(9).unwrap());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(Keys::parse(one.expose()).unwrap().epochs(), [9]);
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let refused = Keys::from_env("HEADCOUNT_KEY_THAT_NOBODY_SETS").unwrap_err();
        assert!(refused.to_string().contains("HEADCOUNT_KEY_THAT_NOBODY_SETS is not set"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused_and_named() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("headcount-keys-{}", std::process::id()));
        std::fs::write(&path, format!("5:{HEX}\n")).unwrap();
        let with_mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Keys::from_file(&path)
        };
        for mode in [0o640, 0o604, 0o620, 0o777] {
            let refused = with_mode(mode).unwrap_err().to_string();
            assert!(refused.contains("key_file") && refused.contains(&format!("{mode:04o}")), "{refused}");
            assert!(refused.contains(&path.display().to_string()), "{refused}");
        }
        assert_eq!(with_mode(0o600).unwrap().epochs(), [5]);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Keys::from_file(&path), Err(KeyError::Read { .. })));
        assert!(
            Keys::from_file(std::env::temp_dir()).unwrap_err().to_string().contains("not a regular file")
        );
    }
}
