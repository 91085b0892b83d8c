//! The remote tier of the store, as flags, coresift.toml and the environment say: where results are
//! looked up that are not here, and where new ones go.

use crate::{
    context::{Context, Failure, bytes_of, eprint, eprint_line},
    output::Stream,
    site::Site,
};
use cache::{RemoteCounts, RemoteTier, Store};
use serde::Deserialize;
use std::{
    env,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// The variable that names a remote store.
const VARIABLE: &str = "CORESIFT_REMOTE";

/// Where results are looked up that are not in the store.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct RemoteArgs {
    /// A second store, for what is not in the first: a folder, s3://bucket/folder, https://…
    /// [default: as [remote] of coresift.toml says]
    #[arg(long, env = VARIABLE, value_name = "URL")]
    remote: Option<String>,
    /// Ask no remote store, whatever coresift.toml says.
    #[arg(long)]
    no_remote: bool,
}

/// The table `[remote]` of coresift.toml.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct RemoteSettings {
    /// Its address.
    url: Option<String>,
    /// Whether results are sent there.
    mode: RemoteMode,
    /// The region of a bucket.
    region: Option<String>,
    /// The address of a server that speaks S3 and is not Amazon's.
    endpoint: Option<String>,
    /// The public keys whose records count; without any, all do.
    trust: Vec<String>,
    /// The seconds a result must have taken to be sent.
    min_seconds: f64,
    /// Whether checkpoints of trainings are sent and looked for, too.
    checkpoints: bool,
    /// The folder of coresift.toml, from which a relative path leads.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
}

/// Whether results are sent to the remote store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RemoteMode {
    #[default]
    Read,
    Write,
}

/// What a command does with the remote store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RemoteUse {
    /// Looks results up.
    Read,
    /// Does that, and sends new results if `mode = "write"`.
    AsConfigured,
    /// Sends results, whatever the mode.
    Write,
}

impl Context {
    /// Opens the store with the remote tier that `args` or coresift.toml name, if any.
    pub(crate) fn store_at(&self, args: &RemoteArgs, used: RemoteUse) -> Result<Store, Failure> {
        let store = self.local_store()?;
        if args.no_remote {
            return Ok(store);
        }
        let settings = Site::read()?.remote;
        // An empty variable is none.
        let named = args.remote.clone().filter(|url| !url.is_empty());
        let of_site = settings.url.as_ref().map(|url| settings.beside(url));
        let Some(url) = named.clone().or(of_site) else { return Ok(store) };
        let writes = match used {
            RemoteUse::Read => false,
            RemoteUse::AsConfigured => settings.mode == RemoteMode::Write,
            RemoteUse::Write => true,
        };
        match connect(&url, &settings, writes) {
            Ok(tier) => {
                let tier = Arc::new(tier);
                self.remote.replace(Some(Arc::clone(&tier)));
                Ok(store.with_remote(tier))
            }
            // What is not mounted today is no reason not to work; what was typed is a mistake.
            Err(Unusable::Folder(failure)) if named.is_none() && used != RemoteUse::Write => {
                self.note(&format!("remote {url}: {}; going on without it", failure.message()));
                Ok(store)
            }
            Err(Unusable::Folder(failure) | Unusable::Mistake(failure)) => Err(failure),
        }
    }

    /// Opens the store with a remote tier, or fails if none is named.
    pub(crate) fn store_with_remote(
        &self,
        args: &RemoteArgs,
        used: RemoteUse,
    ) -> Result<Store, Failure> {
        let store = self.store_at(args, used)?;
        if store.remote().is_none() {
            let hint = "name one by --remote, or in coresift.toml: [remote] url = \"s3://…\"";
            return Err(Failure::mistake("no remote store is named").hint(hint));
        }
        Ok(store)
    }

    /// Opens the remote store that `args` or coresift.toml name, to read from it.
    pub(crate) fn remote_tier(&self, args: &RemoteArgs) -> Result<Arc<RemoteTier>, Failure> {
        self.store_with_remote(args, RemoteUse::Read)?;
        Ok(self.remote.borrow().clone().expect("it was opened just now"))
    }

    /// Waits until the results of a run are sent, and says what went to and fro.
    pub(crate) fn finish_remote(&self, store: &Store, stop: &AtomicBool) -> Result<usize, Failure> {
        let Some(tier) = store.remote() else { return Ok(0) };
        let shown = !self.global.quiet && Stream::Err.is_terminal();
        let mut told = 0;
        let left = store.finish_sending(stop, &mut |left| {
            if shown && left != told {
                told = left;
                eprint(&format!("\rsending results: {left} left  "));
            }
        })?;
        if told > 0 {
            eprint("\r\x1b[K");
        }
        self.tell_of_remote();
        if left > 0 {
            self.note(&format!(
                "remote {}: {left} results are not sent yet; the next run that sends goes on, or \
                 `coresift push`",
                tier.name()
            ));
        }
        Ok(left)
    }

    /// Says what is the matter with the remote store, and whose records did not count.
    pub(crate) fn tell_of_remote(&self) {
        let Some(tier) = self.remote.borrow().clone() else { return };
        for note in tier.take_notes() {
            eprint_line(&note);
        }
    }

    /// Says what went to and fro between the stores, and whose records did not count.
    pub(crate) fn sum_up_remote(&self) {
        let Some(tier) = self.remote.borrow().clone() else { return };
        self.tell_of_remote();
        let counts = tier.counts();
        for (by, count) in &counts.ignored {
            let records = if *count == 1 { "record" } else { "records" };
            let whose =
                if by.is_empty() { "without a signature".to_owned() } else { format!("by {by}") };
            self.note(&format!("remote {}: {count} {records} {whose} ignored", tier.name()));
        }
        if let Some(text) = summary(&counts) {
            self.note(&format!("remote {}: {text}", tier.name()));
        }
    }
}

/// Returns what went to and fro in words, if anything did.
fn summary(counts: &RemoteCounts) -> Option<String> {
    let mut parts = vec![];
    if counts.hits > 0 {
        parts.push(format!("{} hits", counts.hits));
    }
    if counts.bytes_fetched > 0 {
        let objects = if counts.fetched == 1 { "object" } else { "objects" };
        let bytes = bytes_of(counts.bytes_fetched);
        parts.push(format!("{} {objects} fetched, {bytes} in all", counts.fetched));
    }
    if counts.sent > 0 || counts.bytes_sent > 0 {
        let results = if counts.sent == 1 { "result" } else { "results" };
        parts.push(format!("{} {results} sent, {}", counts.sent, bytes_of(counts.bytes_sent)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

impl RemoteArgs {
    /// Returns what the environment says, for commands without these flags.
    pub(crate) fn of_environment() -> Self {
        Self {
            remote: env::var_os(VARIABLE).and_then(|url| url.into_string().ok()),
            no_remote: false,
        }
    }
}

impl RemoteSettings {
    /// Returns the address in coresift.toml, which is relative to that file if it is a path.
    fn beside(&self, url: &str) -> String {
        let is_relative = !url.contains("://") && Path::new(url).is_relative();
        if is_relative { self.folder.join(url).display().to_string() } else { url.to_owned() }
    }
}

/// A remote store cannot be used.
#[cfg_attr(
    not(feature = "remote"),
    expect(dead_code, reason = "such a build knows no remote stores")
)]
enum Unusable {
    /// The folder is not there, or is no store.
    Folder(Failure),
    /// The address or a setting is wrong.
    Mistake(Failure),
}

#[cfg(not(feature = "remote"))]
fn connect(_: &str, _: &RemoteSettings, _: bool) -> Result<RemoteTier, Unusable> {
    let failure = Failure::mistake("this build of coresift knows no remote stores");
    Err(Unusable::Mistake(failure.hint("build it with the feature `remote`, or say --no-remote")))
}

/// Opens the remote store at `url`.
#[cfg(feature = "remote")]
fn connect(url: &str, settings: &RemoteSettings, writes: bool) -> Result<RemoteTier, Unusable> {
    use remote::{Address, Connection, Ed25519, OpenError};
    let mistake = |error: &dyn std::fmt::Display| Unusable::Mistake(Failure::mistake(error));
    let address: Address = url.parse().map_err(|error| mistake(&error))?;
    for key in &settings.trust {
        Ed25519::check_public(key).map_err(|error| mistake(&format!("[remote] trust: {error}")))?;
    }
    if !settings.min_seconds.is_finite() || settings.min_seconds < 0.0 {
        return Err(mistake(&"[remote] min-seconds is to be a number of seconds, 0 or more"));
    }
    let environment = env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        name.starts_with("AWS_").then_some((name, value))
    });
    let connection = Connection {
        region: settings.region.clone().filter(|text| !text.is_empty()),
        endpoint: settings.endpoint.clone().filter(|text| !text.is_empty()),
        environment: environment.collect(),
        writes,
    };
    let store = remote::open(&address, &connection).map_err(|error| match error {
        OpenError::Folder(error) => Unusable::Folder(error.into()),
        OpenError::ReadOnly { .. } => Unusable::Mistake(
            Failure::mistake(error).hint("say mode = \"read\", and push to its folder or bucket"),
        ),
        error => Unusable::Mistake(Failure::of(crate::context::Exit::Mistake, error)),
    })?;
    let own = if writes { crate::keys::own().map_err(Unusable::Mistake)? } else { None };
    let options = cache::RemoteOptions {
        name: address.to_string(),
        writes,
        min_seconds: settings.min_seconds,
        checkpoints: settings.checkpoints,
        trust: settings.trust.clone(),
        signatures: Some(Box::new(Ed25519 { own })),
    };
    Ok(RemoteTier::new(store, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_from_the_file_that_has_it() {
        let settings = RemoteSettings { folder: "/lab".into(), ..RemoteSettings::default() };
        assert_eq!(settings.beside("../nfs/store"), "/lab/../nfs/store");
        assert_eq!(settings.beside("/nfs/store"), "/nfs/store");
        assert_eq!(settings.beside("s3://lab/x"), "s3://lab/x");
    }

    #[test]
    fn settings_are_read_and_misspelt_ones_refused() {
        let read = |text: &str| toml::from_str::<RemoteSettings>(text);
        let settings = read("url = \"s3://lab\"\nmode = \"write\"\nmin-seconds = 5").expect("fine");
        assert_eq!((settings.mode, settings.min_seconds), (RemoteMode::Write, 5.0));
        assert_eq!(read("url = \"s3://lab\"").expect("fine").mode, RemoteMode::Read);
        for wrong in ["mode = \"rw\"", "min_seconds = 5", "secret = \"x\"", "trust = \"x\""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
