//! Which process is meant.

use super::choose::{Where, dir_problem};
use super::link::{HOW_TO_ENABLE, Link, Lost};
use super::snapshot::life_words;
use super::status;
use crate::error::{Error, USAGE};
use crate::number::counted;
use headcount::counters::Life;
use headcount_net::admin;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// How long a second process of the name that is wanted may take longer than the first.
const GRACE: Duration = Duration::from_millis(200);

/// Which process to ask, and how to say what it answers
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The process to ask, by its node's name or its number; needed where several have an admin socket
    #[arg(long, short, value_name = "NAME|PID", conflicts_with = "socket")]
    pub(super) process: Option<String>,

    /// The admin socket to ask, by its path: for a process that was given one, or another machine's (ssh -L)
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,

    /// Where to look for the sockets of processes that were given no path; by default /dev/shm
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,

    /// Write JSON, an object a line
    #[arg(long)]
    pub(super) json: bool,
}

/// The exit statuses of a process that cannot be asked, for the help of every command.
pub(super) const UNASKED: &str = "2 the command line is wrong, or does not say which process; 3 none is there to be asked, or not that one; \
4 it was killed or crashed; 5 it does not answer: it is stopped, far too busy, or serves as many clients as it can; 6 it is of another \
version, or none of headcount's; 7 it is another user's";

/// For the help of every command; which exit statuses it has beside those of a process that cannot be asked.
pub(super) fn after_help(done: &str, more: &str) -> String {
    format!("{AFTER_HELP}\n\nExit status: {done}; {UNASKED}{more}.")
}

const AFTER_HELP: &str = "\
A process is looked into through its admin socket, which only its own user and root may use and which is off by default:
  headcount node --name web-1 --cluster chat --admin
Of another machine, forward its socket and name that:
  ssh -N -L /tmp/web-1.admin:/dev/shm/headcount.4711.0.admin web-1.example.net &
  headcount topics --socket /tmp/web-1.admin
Names that are not plain text are shown in quotes with escapes (\"a\\xff\"), and can be given like that.";

/// Sockets in the directory, by path.
pub(super) fn sockets(dir: Option<&Path>) -> Result<(PathBuf, Vec<PathBuf>), Error> {
    let dir = dir.map_or_else(admin::default_dir, Path::to_owned);
    let listed = std::fs::read_dir(&dir)
        .map_err(|error| Error::option("--dir", dir.display(), dir_problem(&error)))?
        .filter_map(|found| Some(found.ok()?.path()));
    let mut paths: Vec<PathBuf> = listed.filter(|path| admin::pid_of(path).is_some()).collect();
    paths.sort();
    Ok((dir, paths))
}

/// A link to the process that the options mean.
pub(super) fn link(options: &Options) -> Result<Link, Error> {
    if let Some(path) = &options.socket {
        return Link::open(path).map_err(|lost| lost.at(path));
    }
    let (dir, paths) = sockets(options.dir.as_deref())?;
    match &options.process {
        Some(wanted) => one_of(wanted, &dir, &paths),
        None => the_only_one(&dir, &paths),
    }
}

/// The process of that name or number.
pub(super) fn one_of(wanted: &str, dir: &Path, paths: &[PathBuf]) -> Result<Link, Error> {
    if let Ok(pid) = wanted.parse::<u32>() {
        let of_it = paths.iter().find(|path| admin::pid_of(path) == Some(pid));
        if let Some(path) = of_it {
            return Link::open(path).map_err(|lost| lost.at(path));
        }
    }
    let (mut links, mut lost, mut living) = (Vec::new(), 0, 0);
    let opened = open_each(paths);
    // Another one of that name would answer as soon; one that does not answer at all is not waited for.
    while let Ok((_, opened)) = match links.is_empty() {
        true => opened.recv().map_err(drop),
        false => opened.recv_timeout(GRACE).map_err(drop),
    } {
        match opened {
            Ok(link) if link.hello.node == wanted => links.push(link),
            Ok(_) => living += 1,
            // What a dead process has left behind is nobody's.
            Err(Lost::Gone | Lost::Missing) => {}
            Err(_) => lost += 1,
        }
    }
    match links.len() {
        1 => Ok(links.remove(0)),
        0 => {
            if let Some(known) = known(wanted, dir, paths) {
                return known;
            }
            let in_dir = dir.display();
            let others = match lost {
                0 => String::new(),
                1 => "; one of them cannot be asked for its name".to_owned(),
                count => format!("; {count} of them cannot be asked for their names"),
            };
            let problem = match living + lost {
                0 => format!("--process {wanted}: there is no admin socket in {in_dir}; {HOW_TO_ENABLE}"),
                all => {
                    let sockets = counted(all, "admin socket", "admin sockets");
                    format!(
                        "--process {wanted}: none of the {sockets} in {in_dir} is of it{others}; {HOW_TO_ENABLE}"
                    )
                }
            };
            Err(Error::Unseen { problem, status: status::NOTHING })
        }
        _ => Err(several(&links)),
    }
}

/// What the counters files tell of a process that has not answered by its name; `None` if they do not know it either. They lie where the
/// sockets do, or in the usual place.
fn known(wanted: &str, dir: &Path, paths: &[PathBuf]) -> Option<Result<Link, Error>> {
    let usual = admin::default_dir();
    let places = [dir].into_iter().chain((dir != usual).then_some(&*usual));
    let mut chosen = places.filter_map(|dir| {
        let place = Where { process: Some(wanted.to_owned()), dir: Some(dir.to_owned()), ..Where::default() };
        place.chosen().ok()
    });
    let reader = chosen.next()?;
    let (pid, life) = (reader.pid(), reader.life());
    let unseen = |problem, status| Some(Err(Error::Unseen { problem, status }));
    match life {
        Life::Running => match paths.iter().find(|path| admin::pid_of(path) == Some(pid)) {
            Some(path) => Some(Link::open(path).map_err(|lost| lost.at(path))),
            None => {
                let dir = dir.display();
                let problem = format!(
                    "--process {wanted}: it is process {pid} and runs, without an admin socket in {dir}; {HOW_TO_ENABLE}"
                );
                unseen(problem, status::NOTHING)
            }
        },
        Life::Silent(_) => {
            unseen(format!("--process {wanted}: it is process {pid}, {}", life_words(life)), status::SILENT)
        }
        Life::Dead(_) => {
            unseen(format!("--process {wanted}: it was process {pid}, {}", life_words(life)), status::DEAD)
        }
        _ => None,
    }
}

fn the_only_one(dir: &Path, paths: &[PathBuf]) -> Result<Link, Error> {
    let (mut links, mut lost) = open_all(paths);
    // What a dead process has left behind is told of only if there is nothing else.
    lost.sort_by_key(|(_, lost)| matches!(lost, Lost::Gone | Lost::Missing));
    match (links.len(), lost.first()) {
        (1, _) => Ok(links.remove(0)),
        (0, None) => {
            let problem = format!("no admin socket in {}: {HOW_TO_ENABLE}", dir.display());
            Err(Error::Unseen { problem, status: status::NOTHING })
        }
        (0, Some((path, lost))) => Err(lost.at(path)),
        _ => Err(several(&links)),
    }
}

/// Asks all at once who they are: a process that stands still takes its time.
fn open_each(paths: &[PathBuf]) -> Receiver<(PathBuf, Result<Link, Lost>)> {
    let (sender, opened) = mpsc::channel();
    for path in paths {
        let (sender, path) = (sender.clone(), path.clone());
        thread::spawn(move || {
            let opened = Link::open(&path);
            // Who has chosen by then does not listen any more.
            let _ = sender.send((path, opened));
        });
    }
    opened
}

/// Who can be asked, and why the others cannot; by path.
pub(super) fn open_all(paths: &[PathBuf]) -> (Vec<Link>, Vec<(PathBuf, Lost)>) {
    let (mut links, mut lost) = (Vec::new(), Vec::new());
    for (path, opened) in open_each(paths) {
        match opened {
            Ok(link) => links.push(link),
            Err(why) => lost.push((path, why)),
        }
    }
    links.sort_by(|a, b| a.path().cmp(b.path()));
    lost.sort_by(|a, b| a.0.cmp(&b.0));
    (links, lost)
}

fn several(links: &[Link]) -> Error {
    let named: Vec<String> =
        links.iter().map(|link| format!("{} ({})", link.hello.pid, link.name())).collect();
    let problem = format!("several processes can be asked; choose one with --process: {}", named.join(", "));
    Error::Unseen { problem, status: USAGE }
}
