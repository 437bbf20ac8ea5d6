//! Opening what others have put into a directory that everybody may write.

use super::ReadError;
use super::file::PREFIX;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A file in the directory that is named as counters files are.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) path: PathBuf,
    /// The process that the name tells.
    pub(super) pid: u32,
    /// It has not got its last name yet.
    pub(super) is_new: bool,
}

/// Files in a directory that are named as counters files are, those that are being made too, by process id.
pub(super) fn names(dir: &Path) -> io::Result<Vec<Named>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('.'));
        let Some((pid, number)) = parts else { continue };
        let (number, is_new) = number.strip_suffix(".new").map_or((number, false), |number| (number, true));
        if let (Ok(pid), Ok(_)) = (pid.parse(), number.parse::<u64>()) {
            names.push(Named { path: entry.path(), pid, is_new });
        }
    }
    names.sort_by(|a, b| (a.pid, &a.path).cmp(&(b.pid, &b.path)));
    Ok(names)
}

/// Opens a counters file that this process may trust; see [`Reader`](super::Reader).
pub(super) fn open(path: &Path) -> Result<File, ReadError> {
    let file = regular(path)?.ok_or_else(|| ReadError::NotCounters { path: path.to_owned() })?;
    let owner = owner_of(&file).map_err(|source| ReadError::io(path, source))?;
    match may_trust(owner, own_uid()) {
        true => Ok(file),
        false => Err(ReadError::OtherUser { path: path.to_owned(), uid: owner }),
    }
}

/// Opens a file of this process's own user, if it is one; nobody waits for it.
pub(super) fn open_own(path: &Path) -> Option<File> {
    let file = regular(path).ok().flatten()?;
    (owner_of(&file).ok()? == own_uid()).then_some(file)
}

/// A file's owner can cut it short, which ends whoever has it mapped. Root could end this process anyway, and root itself asked for it.
fn may_trust(owner: u32, me: u32) -> bool {
    owner == me || owner == 0 || me == 0
}

/// Opens what is there if it is a regular file. A FIFO without a writer would keep an open that may wait for ever, and a link leads
/// somewhere else.
#[cfg(unix)]
fn regular(path: &Path) -> Result<Option<File>, ReadError> {
    use std::os::unix::fs::OpenOptionsExt;
    // The standard library adds O_CLOEXEC.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        // A link (the BSDs have their own names for that), and a socket.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EMLINK | libc::ENXIO)) => {
            return Ok(None);
        }
        opened => opened.map_err(|source| ReadError::io(path, source))?,
    };
    let is_file = file.metadata().map_err(|source| ReadError::io(path, source))?.is_file();
    Ok(is_file.then_some(file))
}

#[cfg(not(unix))]
fn regular(path: &Path) -> Result<Option<File>, ReadError> {
    let io = |source| ReadError::io(path, source);
    let file = File::open(path).map_err(io)?;
    Ok(file.metadata().map_err(io)?.is_file().then_some(file))
}

#[cfg(unix)]
fn owner_of(file: &File) -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.uid())
}

#[cfg(not(unix))]
fn owner_of(_file: &File) -> io::Result<u32> {
    Ok(0)
}

#[cfg(unix)]
fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn own_uid() -> u32 {
    0
}

/// Whether the file is what has that name now.
#[cfg(unix)]
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let held = file.metadata().map(identity);
    held.is_ok_and(|held| fs::symlink_metadata(path).is_ok_and(|found| identity(found) == held))
}

#[cfg(not(unix))]
pub(super) fn is_at(_file: &File, _path: &Path) -> bool {
    false
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_trusted_of_the_same_user_of_root_and_by_root() {
        for (owner, me, may) in [(7, 7, true), (0, 7, true), (7, 0, true), (0, 0, true), (8, 7, false)] {
            assert_eq!(may_trust(owner, me), may, "{owner} read by {me}");
        }
    }
}
