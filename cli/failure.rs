//! Why a command could not do its work: the error as data, until it is told to people or programs.

use crate::output::{eprint_line, print_line};
use cache::StoreError;
use engine::{RunError, SpecErrors, StageError};
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    error::Error,
    fmt::{self, Display},
    io,
    process::ExitCode,
};

/// The exit codes that are not success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Something could not be done.
    Failed = 1,
    /// There is a mistake in a file or on the command line.
    Mistake = 2,
    /// The store is damaged or of another kind.
    Damaged = 3,
    /// `plan --exit-code`: there are stages to run. No failure.
    ToDo = 10,
    /// A job was told to end, and is to go on later.
    Unfinished = 85,
    /// The program itself has a defect (sysexits.h, EX_SOFTWARE).
    Defect = 70,
    /// The program of a stage cannot be started, as a shell says it.
    NotStarted = 126,
    /// A signal or the end of the input asked the program to stop.
    Interrupted = 130,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Exit,
    error: Box<dyn Error>,
    /// The ways out.
    hints: Vec<String>,
}

/// An error of the program's own: a clause, and what caused it.
#[derive(Debug)]
struct Clause {
    text: String,
    cause: Option<Box<dyn Error>>,
}

impl Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Clause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref()
    }
}

impl Failure {
    /// Returns the failure that `error` is.
    pub(crate) fn of(kind: Exit, error: impl Into<Box<dyn Error>>) -> Self {
        Self { kind, error: error.into(), hints: vec![] }
    }

    /// Returns the failure that `clause` tells.
    pub(crate) fn new(kind: Exit, clause: impl Display) -> Self {
        Self::of(kind, Clause { text: clause.to_string(), cause: None })
    }

    /// Returns that something could not be done.
    pub(crate) fn failed(clause: impl Display) -> Self {
        Self::new(Exit::Failed, clause)
    }

    /// Returns a mistake in a file or on the command line.
    pub(crate) fn mistake(clause: impl Display) -> Self {
        Self::new(Exit::Mistake, clause)
    }

    /// Adds what caused it.
    pub(crate) fn because(self, cause: impl Into<Box<dyn Error>>) -> Self {
        let clause = Clause { text: self.error.to_string(), cause: Some(cause.into()) };
        Self { error: Box::new(clause), ..self }
    }

    /// Adds a way out.
    pub(crate) fn hint(mut self, hint: impl Display) -> Self {
        self.hints.push(hint.to_string());
        self
    }

    /// Returns what is wrong and its causes, in one line.
    pub(crate) fn message(&self) -> String {
        chain(&*self.error)
    }

    /// Returns it as people read it.
    pub(crate) fn text(&self) -> String {
        if let Some(errors) = self.error.downcast_ref::<SpecErrors>() {
            return crate::mistakes::render(errors);
        }
        let hints = self.hints.iter().map(|hint| format!("\nhelp: {hint}"));
        format!("error: {}{}", self.message(), hints.collect::<String>())
    }

    /// Returns it as programs read it.
    pub(crate) fn json(&self) -> Value {
        let hint = (!self.hints.is_empty()).then(|| self.hints.join("; "));
        let mut value = json!({
            "error": { "message": self.message(), "hint": hint, "code": self.kind.code() },
        });
        if let Some(errors) = self.error.downcast_ref::<SpecErrors>() {
            value["mistakes"] = crate::mistakes::json(errors);
        }
        value
    }

    /// Prints it, on stdout too if programs are to read it, and returns the exit code.
    pub(crate) fn report(&self, as_json: bool) -> ExitCode {
        if as_json {
            print_line(&self.json().to_string());
        }
        eprint_line(self.text().trim_end());
        self.kind.into()
    }
}

impl From<SpecErrors> for Failure {
    fn from(errors: SpecErrors) -> Self {
        Self::of(Exit::Mistake, errors)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let RunError::Store(error) = error;
        error.into()
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        let hint = error.hint().map(Cow::into_owned);
        let failure = Self::of(Exit::Failed, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::NewerFormat { .. } | StoreError::Damaged { .. } => Exit::Damaged,
            StoreError::NotAStore { .. } => Exit::Mistake,
            _ => Exit::Failed,
        };
        let hint = match &error {
            StoreError::NewerFormat { .. } => {
                Some("use a newer coresift, or another store with --store")
            }
            StoreError::NotAStore { .. } => Some("name an empty or new folder with --store"),
            StoreError::Damaged { .. } => Some("`coresift cache verify` checks the whole store"),
            StoreError::Io { source, .. } => io_hint(source.kind()),
            _ => None,
        };
        let failure = Self::of(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Returns the way out of an error of the file system that holds the store.
fn io_hint(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::StorageFull => Some(
            "free some space and run it again, what is done is kept; `coresift cache gc --dry-run` says what the store could do without",
        ),
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("the store cannot be written; choose another with --store")
        }
        io::ErrorKind::PermissionDenied => Some(
            "the store cannot be written: its owner opens it to the group with `coresift cache share`; or choose another with --store",
        ),
        _ => None,
    }
}

/// Returns an error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_to_people_and_programs() {
        let failure = Failure::mistake("no run is called `x`").hint("list them");
        assert_eq!(failure.text(), "error: no run is called `x`\nhelp: list them");
        let wanted = json!({ "error": {
            "message": "no run is called `x`", "hint": "list them", "code": 2,
        } });
        assert_eq!(failure.json(), wanted);
        assert_eq!(Failure::failed("no").json()["error"]["hint"], Value::Null);
    }

    #[test]
    fn a_cause_stays_an_error_until_it_is_told() {
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        let wanted = format!("cannot write `a`: {refused}");
        let failure = Failure::failed("cannot write `a`").because(refused).hint("b").hint("c");
        let source = failure.error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::PermissionDenied));
        assert_eq!(failure.message(), wanted);
        assert_eq!(failure.text(), format!("error: {wanted}\nhelp: b\nhelp: c"));
        assert_eq!(failure.json()["error"]["hint"], "b; c");
    }

    #[test]
    fn every_error_of_the_store_has_its_kind_and_hint() {
        let failure = Failure::from(StoreError::Io {
            action: "write",
            path: "objects".into(),
            source: io::ErrorKind::StorageFull.into(),
        });
        assert_eq!(failure.kind, Exit::Failed);
        assert!(failure.hints[0].starts_with("free some space"), "{:?}", failure.hints);
    }
}
