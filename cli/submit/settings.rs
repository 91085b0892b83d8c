//! The table `[slurm]` of `coresift.toml`: what a site's jobs ask for. Nothing of it is in any key.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// How many times what is missing is sent again, unless something else is said.
const RETRIES: u32 = 2;
/// How many seconds before its time limit a job is told, unless something else is said.
const WARN: u32 = 120;

/// The table `[slurm]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct SlurmSettings {
    /// The lines of shell before the program, such as `module load cuda/13`.
    pub(crate) setup: Vec<String>,
    /// The most jobs of an array that run at once.
    pub(crate) at_once: Option<u32>,
    /// The most jobs in an array.
    pub(crate) most: Option<u32>,
    /// How many times what is missing at the end is sent again.
    pub(crate) retries: u32,
    /// How many seconds before its time limit a job is told, to keep a checkpoint and queue again.
    pub(crate) warn: u32,
    /// What every job asks for.
    pub(crate) job: JobResources,
    /// What jobs ask for that have a stage which uses the device.
    pub(crate) device: JobResources,
    /// What the others ask for.
    pub(crate) host: JobResources,
    /// What jobs with a stage of that name ask for.
    pub(crate) stage: BTreeMap<String, JobResources>,
}

impl Default for SlurmSettings {
    fn default() -> Self {
        Self {
            setup: vec![],
            at_once: None,
            most: None,
            retries: RETRIES,
            warn: WARN,
            job: JobResources::default(),
            device: JobResources::default(),
            host: JobResources::default(),
            stage: BTreeMap::new(),
        }
    }
}

/// What a job asks for. What is left out is the site's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct JobResources {
    /// The partition.
    pub(crate) partition: Option<Word>,
    /// The account.
    pub(crate) account: Option<Word>,
    /// The quality of service.
    pub(crate) qos: Option<Word>,
    /// The time limit, such as `4:00:00`.
    pub(crate) time: Option<Word>,
    /// The memory, such as `32G`.
    pub(crate) mem: Option<Megabytes>,
    /// The cores.
    pub(crate) cpus: Option<u32>,
    /// The GPUs.
    pub(crate) gpus: Option<u32>,
    /// Further options of `sbatch`, such as `--constraint=a100`.
    pub(crate) extra: Vec<BatchOption>,
}

impl JobResources {
    /// Returns what is asked for by `over`, and by `self` where that says nothing. Further options
    /// of both hold.
    fn with(self, over: &Self) -> Self {
        let mut extra = self.extra;
        extra.extend(over.extra.iter().cloned());
        Self {
            partition: over.partition.clone().or(self.partition),
            account: over.account.clone().or(self.account),
            qos: over.qos.clone().or(self.qos),
            time: over.time.clone().or(self.time),
            mem: over.mem.or(self.mem),
            cpus: over.cpus.or(self.cpus),
            gpus: over.gpus.or(self.gpus),
            extra,
        }
    }
}

impl SlurmSettings {
    /// Returns what a job with the stages called `labels` asks for; where several have a table, the
    /// later in the pipeline has the last word.
    pub(crate) fn resources<'a>(
        &self,
        labels: impl IntoIterator<Item = &'a str>,
        on_device: bool,
    ) -> JobResources {
        let kind = if on_device { &self.device } else { &self.host };
        let own = labels.into_iter().filter_map(|label| self.stage.get(label));
        own.fold(self.job.clone().with(kind), |all, over| all.with(over))
    }
}

/// An amount of memory in mebibytes, written as Slurm does: `500M`, `32G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Megabytes(pub(crate) u64);

impl FromStr for Megabytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no amount of memory: write `500M` or `32G`");
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let number: f64 = text[..end].parse().map_err(|_| wrong())?;
        // `n` and `c` follow in what earlier releases say: for each node, for each core.
        let mebibytes = match text[end..].trim_end_matches(['n', 'c']) {
            "" | "M" | "m" => number,
            "K" | "k" => number / 1024.0,
            "G" | "g" => number * 1024.0,
            "T" | "t" => number * 1024.0 * 1024.0,
            _ => return Err(wrong()),
        };
        let whole = mebibytes.ceil();
        if (1.0..=1e9).contains(&whole) { Ok(Self(whole as u64)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Megabytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}M", self.0)
    }
}

impl Serialize for Megabytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Megabytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A value of an option: one word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Word(pub(crate) String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let odd = |c: char| c.is_whitespace() || c.is_control() || ['"', '\'', '\\'].contains(&c);
        match text.is_empty() || text.contains(odd) {
            true => Err(de::Error::custom(format!("`{}` is not one word", text.escape_debug()))),
            false => Ok(Self(text)),
        }
    }
}

/// A whole option of `sbatch`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct BatchOption(pub(crate) String);

/// The options that a submission sets itself, and what they would break.
const OWN: [&str; 9] = [
    "--array",
    "--dependency",
    "--output",
    "--signal",
    "--requeue",
    "--no-requeue",
    "--open-mode",
    "--wrap",
    "--kill-on-invalid-dep",
];

impl<'de> Deserialize<'de> for BatchOption {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !text.starts_with("--") || text.contains(char::is_control) {
            let what = format!("`{}` is no option: write `--name=value`", text.escape_debug());
            return Err(de::Error::custom(what));
        }
        let name = text.split(['=', ' ']).next().unwrap_or_default();
        if OWN.contains(&name) {
            return Err(de::Error::custom(format!("`{name}` is set by coresift itself")));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearer_to_a_stage_has_the_last_word() {
        let text = "[job]\naccount = \"lab\"\nmem = \"4G\"\nextra = [\"--comment=x\"]\n\
                    [device]\ngpus = 1\nmem = \"32G\"\n[stage.student]\ntime = \"12:00:00\"\n\
                    extra = [\"--nice\"]";
        let settings: SlurmSettings = toml::from_str(text).expect("it reads");
        let host = settings.resources(["subset"], false);
        assert_eq!((host.mem, host.gpus), (Some(Megabytes(4096)), None));
        let job = settings.resources(["subset", "student"], true);
        assert_eq!((job.mem, job.gpus), (Some(Megabytes(32 * 1024)), Some(1)));
        assert_eq!(job.time, Some(Word("12:00:00".into())));
        assert_eq!(job.extra.len(), 2);
        assert_eq!((settings.retries, settings.warn), (2, 120));
    }

    #[test]
    fn what_sbatch_would_not_take_is_refused() {
        for wrong in [
            "[job]\nmem = \"4 elephants\"",
            "[job]\nmem = \"0\"",
            "[job]\npartition = \"a b\"",
            "[job]\nextra = [\"-p x\"]",
            "[job]\nextra = [\"--array=1-2\"]",
            "[job]\nmemory = \"4G\"",
            "at_once = 3",
        ] {
            assert!(toml::from_str::<SlurmSettings>(wrong).is_err(), "{wrong}");
        }
        assert_eq!("1500K".parse(), Ok(Megabytes(2)), "rounded up");
        assert_eq!("100Mn".parse(), Ok(Megabytes(100)), "as sacct says it");
    }
}
