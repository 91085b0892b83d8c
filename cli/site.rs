//! `coresift.toml`: what holds for a folder and all below it. Nothing of it is in any key.

use crate::context::Failure;
use crate::quantities::{DurationArg, Size};
use crate::remote::RemoteSettings;
use crate::submit::{ray::RaySettings, settings::SlurmSettings};
use serde::{Deserialize, Deserializer, de};
use std::{env, fs, path::PathBuf, str::FromStr};

/// The name of the file.
pub(crate) const NAME: &str = "coresift.toml";

/// The settings of the nearest `coresift.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Site {
    /// The limits of `cache gc`.
    pub(crate) cache: CacheSettings,
    /// What jobs ask Slurm for.
    pub(crate) slurm: SlurmSettings,
    /// Where Ray is, and what jobs ask it for.
    pub(crate) ray: RaySettings,
    /// The remote tier.
    pub(crate) remote: RemoteSettings,
}

/// The table `[cache]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct CacheSettings {
    /// How large `cache gc` leaves the store.
    #[serde(deserialize_with = "text")]
    pub(crate) max_size: Option<Size>,
    /// How many runs that made something it keeps.
    pub(crate) keep_runs: Option<usize>,
    /// How old what it takes must be.
    #[serde(deserialize_with = "text")]
    pub(crate) min_age: Option<DurationArg>,
    /// Whether leases are written while they are held, for file systems whose locks do not reach
    /// other hosts; without it, on network file systems.
    pub(crate) heartbeat: Option<bool>,
}

/// Reads a setting that is written as on the command line.
fn text<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(de::Error::custom)
}

impl Site {
    /// Reads the nearest file above the current folder; without one, nothing is said.
    pub(crate) fn read() -> Result<Self, Failure> {
        let here = env::current_dir().unwrap_or_default();
        let Some(path) =
            here.ancestors().map(|folder| folder.join(NAME)).find(|path| path.exists())
        else {
            return Ok(Self::default());
        };
        let refused = || Failure::mistake(format!("cannot read `{}`", path.display()));
        let text = fs::read_to_string(&path).map_err(|error| refused().because(error))?;
        let mut site: Self = toml::from_str(&text).map_err(|error| {
            // It has the line, and what is wrong underlined.
            refused().because(error).hint(
                "docs/guide/cache.md lists what `[cache]` may say, docs/cluster.md what `[slurm]` and `[ray]`, \
                 docs/remote.md what `[remote]`",
            )
        })?;
        site.remote.folder = path.parent().map(PathBuf::from).unwrap_or_default();
        Ok(site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_written_as_on_the_command_line() {
        let site: Site =
            toml::from_str("[cache]\nmax-size = \"50GB\"\nmin-age = \"2h\"").expect("fine");
        assert_eq!(site.cache.max_size, Some(Size(50_000_000_000)));
        assert!(site.cache.keep_runs.is_none());
        for wrong in
            ["[cache]\nmax-size = 5", "[cache]\nmaxsize = \"5GB\"", "[cash]", "max-size = \"\""]
        {
            assert!(toml::from_str::<Site>(wrong).is_err(), "{wrong}");
        }
    }
}
