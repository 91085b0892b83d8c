//! `coresift cache key`: the private key that records are signed with on their way to a remote
//! store, in the user's folder of settings.

use crate::context::{Context, Failure, print_line};
use remote::PrivateKey;
use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(clap::Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(clap::Subcommand)]
enum KeyCommand {
    /// Make a private key, unless there is one; print the public key, for `trust` of others.
    New,
    /// Print the public key.
    Show,
}

pub(crate) fn run(args: &KeyArgs, context: &Context) -> Result<ExitCode, Failure> {
    let path = path()?;
    let key = match args.command {
        KeyCommand::New => new(&path, context)?,
        KeyCommand::Show => read(&path)?.ok_or_else(|| {
            let none = Failure::failed(format!("there is no key at `{}`", path.display()));
            none.hint("`coresift cache key new` makes one")
        })?,
    };
    if context.global.json {
        let path = path.display().to_string();
        print_line(&serde_json::json!({ "public": key.public(), "path": path }).to_string());
    } else {
        print_line(&key.public());
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a key at `path`, which only this user can read.
fn new(path: &Path, context: &Context) -> Result<PrivateKey, Failure> {
    let cannot = |error: io::Error| {
        Failure::failed(format!("cannot write `{}`", path.display())).because(error)
    };
    let key =
        PrivateKey::draw().map_err(|error| Failure::failed("no key is made").because(error))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(cannot)?;
    }
    let mut options = fs::OpenOptions::new();
    let mut file = match options.write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let there = format!("there is a key at `{}` already", path.display());
            let hint = "`coresift cache key show` prints its public key; move it away to make \
                        another one";
            return Err(Failure::failed(there).hint(hint));
        }
        other => other.map_err(cannot)?,
    };
    file.write_all(key.secret_text().as_bytes()).map_err(cannot)?;
    file.sync_all().map_err(cannot)?;
    context.note(&format!("the private key is in {}; keep it to yourself", path.display()));
    Ok(key)
}

/// Returns this user's private key, if there is one.
pub(crate) fn own() -> Result<Option<PrivateKey>, Failure> {
    // Without a folder of settings there is no key in it.
    path().ok().map_or(Ok(None), |path| read(&path))
}

fn read(path: &Path) -> Result<Option<PrivateKey>, Failure> {
    let cannot = || Failure::failed(format!("cannot read the key at `{}`", path.display()));
    match fs::read_to_string(path) {
        Ok(text) => text.parse().map(Some).map_err(|error| cannot().because(error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot().because(error)),
    }
}

/// Returns where this user's private key is or would be.
fn path() -> Result<PathBuf, Failure> {
    let folder = |name: &str| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let settings = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    let none = || Failure::mistake("neither HOME nor XDG_CONFIG_HOME says where a key could be");
    Ok(settings.ok_or_else(none)?.join("coresift/key"))
}
