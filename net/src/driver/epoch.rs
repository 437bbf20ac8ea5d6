//! The epoch that a node keeps in a file from one life to the next, so that a life which starts where nobody can tell it of the ones before
//! it is above them all the same.
//!
//! One line, `headcount epoch 12`. A new one is written beside the file, made durable, and then renamed over it, so there is the old one or the
//! new one at any time. It is written before anything is said in a life of that epoch.

use crate::error::JoinError;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const WORDS: &str = "headcount epoch ";
/// Nothing longer is one of these.
const LEN_MAX: u64 = 64;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct EpochFile {
    path: PathBuf,
}

impl EpochFile {
    /// Opens the file, which need not be there yet, and says which epoch it holds; 0 if none was kept. What could not be written later is
    /// found out now.
    pub(crate) fn open(path: &Path) -> Result<(Self, u32), JoinError> {
        let refused = |why: String| JoinError::EpochFile { path: path.to_owned(), why };
        let epoch = read(path).map_err(refused)?;
        let file = Self { path: path.to_owned() };
        file.keep(epoch).map_err(|error| refused(format!("cannot be written: {error}")))?;
        Ok((file, epoch))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes an epoch down, for good.
    pub(crate) fn keep(&self, epoch: u32) -> io::Result<()> {
        let mut name: OsString = self.path.clone().into_os_string();
        name.push(".new");
        let beside = PathBuf::from(name);
        let mut file = File::create(&beside)?;
        file.write_all(format!("{WORDS}{epoch}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        // The rename is in the directory.
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn read(path: &Path) -> Result<u32, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    let mut bytes = Vec::new();
    file.take(LEN_MAX).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    let text = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().strip_prefix(WORDS));
    text.and_then(|number| number.parse().ok()).ok_or_else(|| {
        format!(
            "does not hold a line like \"{WORDS}12\": name another file, restore it, or delete it if this node may begin anew"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of the test's own, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("headcount-epoch-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_kept_is_there_after_it_is_opened_again() {
        let folder = Folder::new("kept");
        let path = folder.0.join("epoch");
        let (file, epoch) = EpochFile::open(&path).unwrap();
        assert_eq!(epoch, 0);
        for epoch in [1, 7, u32::MAX] {
            file.keep(epoch).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("headcount epoch {epoch}\n"));
            assert_eq!(EpochFile::open(&path).unwrap().1, epoch);
        }
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_not_an_epoch_is_refused_by_name_and_left_as_it_is() {
        let folder = Folder::new("refused");
        let path = folder.0.join("epoch");
        let long = "headcount epoch 1".to_owned() + &" ".repeat(100) + "2";
        for content in
            ["", "12", "headcount epoch", "headcount epoch -1", "headcount epoch 4294967296", "\u{fffd}"]
        {
            fs::write(&path, content).unwrap();
            let refused = EpochFile::open(&path).unwrap_err().to_string();
            let begins = format!("epoch_file {}: does not hold a line like", path.display());
            assert!(refused.starts_with(&begins) && refused.contains("delete it"), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        fs::write(&path, long).unwrap();
        assert_eq!(EpochFile::open(&path).unwrap().1, 1, "what is behind the longest line is not looked at");
        let nowhere = folder.0.join("nowhere").join("epoch");
        let refused = EpochFile::open(&nowhere).unwrap_err().to_string();
        assert!(refused.contains("cannot be written") && refused.contains("nowhere"), "{refused}");
        let refused = EpochFile::open(&folder.0).unwrap_err().to_string();
        assert!(refused.contains("cannot be"), "a folder: {refused}");
    }
}
