//! Finding processes, and choosing one by its node's name or its process id.

use super::snapshot::life_words;
use super::status;
use crate::error::Error;
use headcount::counters::{Found, Life, ReadError, Reader, default_dir, find};
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// Options of every command that looks at running processes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Where {
    /// The process: its node's name or its process id
    #[arg(long, short, value_name = "NAME|PID")]
    pub(crate) process: Option<String>,

    /// The same, without the option
    #[arg(value_name = "NAME|PID", conflicts_with = "process")]
    pub(crate) named: Option<String>,

    /// The directory with the counters files; by default that of the file system in memory
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// What was wrong with a file, as an error with its status.
pub(crate) fn unseen(error: &ReadError) -> Error {
    Error::Unseen { problem: error.to_string(), status: status_of(error) }
}

/// The exit status for a file that cannot be read.
pub(crate) fn status_of(error: &ReadError) -> u8 {
    match error {
        ReadError::NotFound { .. } => status::NOTHING,
        ReadError::NoPermission { .. } | ReadError::OtherUser { .. } => status::DENIED,
        ReadError::NotCounters { .. } | ReadError::Version { .. } | ReadError::Damaged { .. } => {
            status::STRANGE
        }
        _ => 1,
    }
}

/// What a process is called: by its node, or else by its program.
pub(crate) fn name_of(reader: &Reader) -> String {
    let named = reader.fact("node").or_else(|| reader.fact("program"));
    named.unwrap_or_else(|| reader.pid().to_string())
}

/// Why a directory could not be searched, and what to do.
pub(crate) fn dir_problem(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such directory; leave --dir out for the usual one".into(),
        ErrorKind::NotADirectory => {
            "it is not a directory; name the one that the counters files are in".into()
        }
        ErrorKind::PermissionDenied => "this user may not read it; run this as its owner".into(),
        _ => error.to_string(),
    }
}

/// Whether the process is there, whatever it does.
pub(crate) fn is_alive(life: Life) -> bool {
    matches!(life, Life::Running | Life::Silent(_))
}

impl Where {
    /// The process that was asked for.
    pub(crate) fn wanted(&self) -> Option<&str> {
        self.process.as_deref().or(self.named.as_deref())
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(default_dir)
    }

    /// Every counters file of the directory.
    pub(crate) fn find(&self) -> Result<Vec<Found>, Error> {
        let dir = self.dir();
        find(&dir).map_err(|error| Error::option("--dir", dir.display(), dir_problem(&error)))
    }

    /// That nothing runs, and how to have something to look at.
    pub(crate) fn nothing(&self) -> Error {
        Error::Unseen {
            problem: format!(
                "nothing runs that keeps counters in {}; headcount node does unless told --counters off, a program of your own does with \
                 Config::counters(Counters::create(default_dir())?); if it keeps them elsewhere, say where with --dir",
                self.dir().display()
            ),
            status: status::NOTHING,
        }
    }

    /// The process that was asked for, dead or alive.
    pub(crate) fn chosen(&self) -> Result<Reader, Error> {
        let wanted = self.wanted().unwrap_or_default();
        let mut of_pid = Vec::new();
        let mut of_name = Vec::new();
        let mut unreadable = Vec::new();
        let pid: Option<u32> = wanted.parse().ok();
        for found in self.find()? {
            match found.reader {
                Ok(reader) if pid == Some(found.pid) || file_is(&reader, wanted) => of_pid.push(reader),
                Ok(reader) if name_of(&reader) == wanted => of_name.push(reader),
                Ok(_) => {}
                Err(error) if pid == Some(found.pid) => return Err(unseen(&error)),
                Err(error) => unreadable.push(error),
            }
        }
        let mut fitting = if of_pid.is_empty() { of_name } else { of_pid };
        let alive = fitting.iter().filter(|reader| is_alive(reader.life())).count();
        if alive > 1 {
            fitting.retain(|reader| is_alive(reader.life()));
            let problem =
                format!("it is the name of several processes: choose by process id; {}", list(&fitting));
            return Err(Error::option("--process", wanted, problem));
        }
        // The living one, or the latest of the dead.
        let best = fitting.into_iter().max_by_key(|reader| (is_alive(reader.life()), reader.created()));
        best.ok_or_else(|| {
            let mut problem = format!(
                "no process {wanted:?} keeps counters in {}; headcount stat lists those that do",
                self.dir().display()
            );
            if !unreadable.is_empty() {
                problem.push_str(&format!(" ({} of their files cannot be read)", unreadable.len()));
            }
            Error::Unseen { problem, status: status::NOTHING }
        })
    }
}

/// Whether it is meant by the end of its file's name: `PID.N` tells the files of one process apart.
fn file_is(reader: &Reader, wanted: &str) -> bool {
    let name = reader.path().file_name().and_then(|name| name.to_str());
    wanted.contains('.') && name.and_then(|name| name.strip_prefix("headcount.")) == Some(wanted)
}

fn list(readers: &[Reader]) -> String {
    let one = |reader: &Reader| {
        let number = reader.path().extension().unwrap_or_default().to_string_lossy().into_owned();
        let file = if number == "0" { String::new() } else { format!(".{number}") };
        let cluster =
            reader.fact("cluster").map_or(String::new(), |cluster| format!(" of cluster {cluster}"));
        format!("{}{file} is {}{cluster}, {}", reader.pid(), name_of(reader), life_words(reader.life()))
    };
    readers.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::Folder;
    use super::*;

    fn choice(folder: &Folder, process: Option<&str>) -> Where {
        Where { process: process.map(str::to_owned), dir: Some(folder.0.clone()), ..Where::default() }
    }

    #[test]
    fn a_process_is_chosen_by_its_nodes_name_or_its_id_and_ambiguity_is_told() {
        let folder = Folder::new("choose");
        let nobody = choice(&folder, Some("web-1")).chosen();
        assert!(matches!(nobody, Err(Error::Unseen { status: status::NOTHING, .. })));
        let web = folder.counters();
        web.set_fact("node", "web-1");
        web.set_fact("cluster", "chat");
        let pid = std::process::id().to_string();
        for process in ["web-1", &pid, &format!("{pid}.{}", number(&web))] {
            let chosen = choice(&folder, Some(process)).chosen().unwrap();
            assert_eq!(name_of(&chosen), "web-1", "{process}");
        }
        let error = choice(&folder, Some("web-2")).chosen().unwrap_err();
        assert!(error.to_string().starts_with("no process \"web-2\" keeps counters in "), "{error}");
        // The same process once more: its id does not tell any more, the names do.
        let other = folder.counters();
        other.set_fact("node", "web-2");
        assert_eq!(name_of(&choice(&folder, Some("web-2")).chosen().unwrap()), "web-2");
        let error = choice(&folder, Some(&pid)).chosen().unwrap_err().to_string();
        assert!(
            error.contains("several processes") && error.contains("is web-1 of cluster chat, running"),
            "{error}"
        );
    }

    fn number(counters: &headcount::counters::Counters) -> String {
        counters.path().unwrap().extension().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_file_that_cannot_be_read_has_a_status_that_says_why() {
        let folder = Folder::new("strange");
        std::fs::write(folder.0.join("headcount.77.0"), "short").unwrap();
        let error = choice(&folder, Some("77")).chosen().unwrap_err();
        assert!(matches!(error, Error::Unseen { status: status::STRANGE, .. }), "{error}");
        let error = choice(&folder, Some("web-1")).chosen().unwrap_err().to_string();
        assert!(error.ends_with("(1 of their files cannot be read)"), "{error}");
    }
}
