//! The file under the counters, as its owner has it.

use super::CreateError;
use super::format::{HEADER_BYTES, MAGIC, PAGE_BYTES, VERSION_MAJOR, VERSION_MINOR, word};
use super::open::is_at;
#[cfg(unix)]
use super::open::open_own;
use super::region::Region;
use crate::sync::{Arc, AtomicU64, Ordering, fence};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the names of counters files begin with.
pub(super) const PREFIX: &str = "headcount.";
/// Names that are tried for a file: of those, all but one may be taken by living processes of the same number.
#[cfg(unix)]
const NAMES_MAX: u32 = 4096;
/// Names that this process has tried.
#[cfg(unix)]
static MADE: AtomicU64 = AtomicU64::new(0);

/// Where counters files are kept, and admin sockets beside them, if nobody says otherwise: `/dev/shm`, or the system's directory for temporary files where that is not.
#[must_use]
pub fn default_dir() -> PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() }
}

/// A file that this process keeps, locked, until it is dropped.
#[derive(Debug)]
pub(super) struct OwnFile {
    /// Has the lock.
    file: File,
    /// What it is called at present.
    path: PathBuf,
    header: Arc<Region>,
    /// Its length.
    bytes: AtomicU64,
}

/// Nanoseconds of a clock that all processes of this machine share.
#[cfg(unix)]
pub(super) fn monotonic() -> u64 {
    // Not by rustix, whose own way to the clock reads what valgrind keeps from it.
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the system writes a time to `now`, which is there for it.
    let _always_there = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

#[cfg(not(unix))]
pub(super) fn monotonic() -> u64 {
    unix_now()
}

/// Nanoseconds since 1970.
pub(super) fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether the lock that a living owner has could be had: then there is none.
#[cfg(unix)]
pub(super) fn is_orphan(file: &File) -> bool {
    use rustix::fs::{FlockOperation, flock};
    let free = flock(file, FlockOperation::NonBlockingLockShared).is_ok();
    if free {
        // It goes with the file as well.
        let _ = flock(file, FlockOperation::Unlock);
    }
    free
}

#[cfg(not(unix))]
pub(super) fn is_orphan(_file: &File) -> bool {
    false
}

/// Takes the lock that a file's owner has for life.
#[cfg(unix)]
pub(super) fn lock(file: &File) -> io::Result<()> {
    use rustix::fs::{FlockOperation, flock};
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

#[cfg(not(unix))]
pub(super) fn lock(_file: &File) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// A new file that only its owner can read, locked.
#[cfg(unix)]
fn make(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    lock(&file)?;
    Ok(file)
}

/// The next name of this process's. Others may have it: those of its number that died, and those that live in another namespace of process
/// ids and share the directory.
#[cfg(unix)]
fn next_name(dir: &Path) -> PathBuf {
    // Relaxed: only the numbers matter.
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    dir.join(format!("{PREFIX}{}.{number}", std::process::id()))
}

/// Runs this with one name after the other while they are taken.
#[cfg(unix)]
fn with_free_name<T>(
    first: PathBuf,
    mut attempt: impl FnMut(&Path) -> io::Result<T>,
) -> Result<T, CreateError> {
    let mut path = first;
    let mut tries = 0;
    loop {
        match attempt(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < NAMES_MAX => {
                tries += 1;
                path = next_name(path.parent().unwrap_or(Path::new("")));
            }
            done => return done.map_err(|source| CreateError::Io { path, source }),
        }
    }
}

/// Gives a file a name that nobody has who lives.
#[cfg(unix)]
fn claim(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => {
            // It has its name. If the other stays, it is removed as a dead process's is, later.
            let _ = fs::remove_file(from);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Of a dead process: while its lock is held, nobody else takes its name, or removes it.
            let dead = open_own(to).filter(|file| lock(file).is_ok() && is_at(file, to));
            let _held = dead.ok_or(error)?;
            fs::rename(from, to)
        }
        Err(error) => Err(error),
    }
}

impl OwnFile {
    /// Makes the file under another name, for [`publish`](Self::publish).
    #[cfg(unix)]
    pub(super) fn create(dir: &Path, beat_every: Duration) -> Result<Self, CreateError> {
        let (file, path) = with_free_name(next_name(dir), |path| {
            let path = beside(path);
            make(&path).map(|file| (file, path))
        })?;
        Self::lay_out(file, path.clone(), beat_every).map_err(|source| {
            // What was made is of no use; that it cannot be removed is not the error to tell.
            let _ = fs::remove_file(&path);
            CreateError::Io { path, source }
        })
    }

    #[cfg(not(unix))]
    pub(super) fn create(_dir: &Path, _beat_every: Duration) -> Result<Self, CreateError> {
        Err(CreateError::Unsupported)
    }

    #[cfg_attr(not(unix), expect(dead_code, reason = "no file is made there"))]
    fn lay_out(file: File, path: PathBuf, beat_every: Duration) -> io::Result<Self> {
        extend(&file, 0, HEADER_BYTES)?;
        let header = Arc::new(Region::writable(&file, 0, HEADER_BYTES)?);
        let set = |at: usize, value| header.words()[at].store(value, Ordering::Relaxed);
        set(word::VERSION, u64::from(VERSION_MAJOR) << 32 | u64::from(VERSION_MINOR));
        set(word::PID, u64::from(std::process::id()));
        set(word::CREATED, unix_now());
        set(word::BEAT_EVERY, u64::try_from(beat_every.as_nanos()).unwrap_or(u64::MAX));
        set(word::BEAT, monotonic());
        set(word::MAGIC, MAGIC);
        Ok(Self { file, path, header, bytes: AtomicU64::new(HEADER_BYTES as u64) })
    }

    /// Gives the file its name: from now on others find it, whole.
    #[cfg(unix)]
    pub(super) fn publish(&mut self) -> Result<(), CreateError> {
        let first = self.path.with_extension("");
        self.path = with_free_name(first, |path| claim(&self.path, path).map(|()| path.to_owned()))?;
        Ok(())
    }

    #[cfg(not(unix))]
    pub(super) fn publish(&mut self) -> Result<(), CreateError> {
        Err(CreateError::Unsupported)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn header(&self) -> &Arc<Region> {
        &self.header
    }

    /// Adds whole pages for so many bytes at the end; where they begin, and they. One caller at a time.
    pub(super) fn grow(&self, bytes: usize) -> io::Result<(usize, Region)> {
        let at = usize::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let bytes = bytes.next_multiple_of(PAGE_BYTES);
        extend(&self.file, at, bytes)?;
        let region = Region::writable(&self.file, at, bytes)?;
        self.bytes.store((at + bytes) as u64, Ordering::Relaxed);
        Ok((at, region))
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        // Who has it mapped learns that this was no accident.
        self.header.words()[word::ENDED].store(1, Ordering::Relaxed);
        fence(Ordering::Release);
        // Somebody who does not know of the lock may have put another file there. One that cannot be removed is taken for a dead
        // process's, and removed as such later.
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
fn beside(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.new", path.extension().unwrap_or_default().to_string_lossy()))
}

/// Writes zeros behind what there is. It is written, not only made longer, for the system's memory to be had now: mapped memory that the
/// system cannot find later ends the process.
#[cfg(unix)]
fn extend(file: &File, at: usize, bytes: usize) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let zeros = [0; PAGE_BYTES];
    (at..at + bytes).step_by(PAGE_BYTES).try_for_each(|at| file.write_all_at(&zeros, at as u64))
}

#[cfg(not(unix))]
fn extend(_file: &File, _at: usize, _bytes: usize) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
