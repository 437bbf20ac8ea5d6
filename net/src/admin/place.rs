//! Where the socket lies, and how it gets there without a moment in which anybody else could connect.
//!
//! It is bound inside a directory of mode 0700 that is made for it, where only the owner (and root) can reach it, gets mode 0600 there, and
//! is renamed to its place after that. Whoever can see it under its name finds it with its last mode: to connect needs leave to
//! write. The process's umask has no part in this.

use super::AdminError;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;
/// Sockets of one process without a path of their own.
const NUMBERS: u32 = 1024;

/// The name of a socket without a path, the `number`-th of a process.
fn name_of(pid: u32, number: u32) -> String {
    format!("headcount.{pid}.{number}.admin")
}

/// The process that a socket is of, by its name, if it was given no path.
#[must_use]
pub fn pid_of(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    let (pid, number) = name.strip_prefix("headcount.")?.strip_suffix(".admin")?.split_once('.')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

/// Where a socket is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Path(PathBuf),
    In(PathBuf),
}

/// The name of a listening socket in the file system, which goes with this.
#[derive(Debug)]
pub(super) struct Name {
    path: PathBuf,
    /// Device and inode: what is there by the end may be another one's.
    file: (u64, u64),
}

impl Name {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// A listening socket in that place.
pub(super) fn listen(place: &Place) -> Result<(UnixListener, Name), AdminError> {
    match place {
        Place::Path(path) => listen_at(path),
        Place::In(dir) => {
            let pid = std::process::id();
            let mut last = None;
            for number in 0..NUMBERS {
                match listen_at(&dir.join(name_of(pid, number))) {
                    // Another tracker of this process has it.
                    Err(AdminError::InUse { path }) => last = Some(AdminError::InUse { path }),
                    other => return other,
                }
            }
            Err(last.unwrap_or_else(|| AdminError::InUse { path: dir.clone() }))
        }
    }
}

fn listen_at(path: &Path) -> Result<(UnixListener, Name), AdminError> {
    let failed = |what: &'static str| {
        let path = path.to_owned();
        move |source| AdminError::Io { path, what, source }
    };
    // A name that is too long could be given to it, but nobody could connect there.
    SockAddr::unix(path).map_err(failed("naming it"))?;
    check_free(path)?;
    let dir = PrivateDir::beside(path).map_err(failed("making a directory beside it"))?;
    let inside = dir.0.join("s");
    let listener = bind(&inside).map_err(failed("binding the socket"))?;
    fs::set_permissions(&inside, Permissions::from_mode(0o600)).map_err(failed("setting its mode"))?;
    let file = identity(&inside).map_err(failed("looking at it"))?;
    fs::rename(&inside, path).map_err(failed("moving it to its place"))?;
    Ok((listener, Name { path: path.to_owned(), file }))
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// That nothing is there, or a socket that nobody listens to any more.
fn check_free(path: &Path) -> Result<(), AdminError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(AdminError::Io { path: path.to_owned(), what: "looking at it", source }),
    };
    if !found.file_type().is_socket() {
        return Err(AdminError::NotASocket { path: path.to_owned() });
    }
    let connected = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| {
        // A process that stands still has a queue that may be full: that is an answer too, not to be waited for.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    });
    match connected {
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        _ => Err(AdminError::InUse { path: path.to_owned() }),
    }
}

/// A directory that only the owner can enter, for a moment.
struct PrivateDir(PathBuf);

impl PrivateDir {
    fn beside(path: &Path) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut tries = 0;
        loop {
            // Short, because a socket's path is: it must not be longer than the one that is wanted.
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let dir = parent.join(format!(".h{}.{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => return Ok(Self(dir)),
                // Left behind by an earlier process of this number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < 16 => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0.join("s"));
        let _ = fs::remove_dir(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory for a test, which goes with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("headcount-place-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).expect("a directory");
            Self(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn here(path: &Path) -> Result<(UnixListener, Name), AdminError> {
        listen(&Place::Path(path.to_owned()))
    }

    #[test]
    fn a_socket_is_its_owners_and_goes_with_its_name() {
        let scratch = Scratch::new("mode");
        let path = scratch.0.join("a");
        let (listener, name) = here(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "nothing else is left there");
        drop((listener, name));
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_ones_socket_is_replaced_and_a_live_ones_is_not() {
        let scratch = Scratch::new("stale");
        let path = scratch.0.join("a");
        let (listener, name) = here(&path).unwrap();
        assert!(matches!(here(&path), Err(AdminError::InUse { path: at }) if at == path));
        // As after a kill: nobody listens and the file is there.
        drop(listener);
        let second = here(&path).expect("it is replaced");
        // The first one's end does not take the second one's name.
        drop(name);
        assert!(path.exists());
        drop(second);
        fs::write(&path, "something").unwrap();
        assert!(matches!(here(&path), Err(AdminError::NotASocket { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"something");
    }

    #[test]
    fn sockets_without_a_path_get_one_number_after_the_other() {
        let scratch = Scratch::new("numbers");
        let place = Place::In(scratch.0.clone());
        let (first, second) = (listen(&place).unwrap(), listen(&place).unwrap());
        let pid = std::process::id();
        assert_eq!(first.1.path(), scratch.0.join(format!("headcount.{pid}.0.admin")));
        assert_eq!(second.1.path(), scratch.0.join(format!("headcount.{pid}.1.admin")));
        assert_eq!(pid_of(first.1.path()), Some(pid));
        for other in
            ["headcount.7.0", "headcount.x.0.admin", "headcount.7.admin", "a", "headcount.7.0.0.admin"]
        {
            assert_eq!(pid_of(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn a_path_that_cannot_be_is_named() {
        let scratch = Scratch::new("long");
        // A socket's path has 107 bytes at the most; beside it there would be room for a shorter one.
        for long in [scratch.0.join("x".repeat(107)), scratch.0.join("missing").join("a")] {
            let error = here(&long).unwrap_err().to_string();
            assert!(error.contains(&long.display().to_string()), "{error}");
            assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0, "nothing is left: {error}");
        }
    }
}
