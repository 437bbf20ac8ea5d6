//! What a check found.

use serde::Serialize;

/// How bad it is. The later, the worse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// Worth knowing, and no reason to do anything.
    Note,
    /// It cannot be told from here.
    Unknown,
    /// It works, and not as it should.
    Warning,
    /// It does not work, or will not for long.
    Problem,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Finding {
    /// The check's name, for scripts.
    pub(crate) check: &'static str,
    pub(crate) status: Status,
    /// What is so.
    pub(crate) what: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

impl Finding {
    pub(crate) fn new(check: &'static str, status: Status, what: impl Into<String>) -> Self {
        Self { check, status, what: what.into(), remedy: None }
    }

    pub(crate) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, what)
    }

    pub(crate) fn note(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Status::Note, what)
    }

    pub(crate) fn unknown(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Status::Unknown, what)
    }

    pub(crate) fn warning(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Status::Warning, what)
    }

    pub(crate) fn problem(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Status::Problem, what)
    }

    /// With what to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}
