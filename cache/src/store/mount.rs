//! What can be told of the file system of a store: its kind, and how far its locks reach.

use super::Store;
use std::{fs, os::unix::fs::MetadataExt as _};

/// The file system of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Its kind, as the kernel calls it: `ext4`, `nfs4`, `fuse.sshfs`. `None` if it does not say.
    pub kind: Option<String>,
    /// Whether it is a network file system.
    pub is_network: bool,
    /// How far locks (flock) reach.
    pub locks: LockReach,
}

/// How far the locks (flock) of a file system reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockReach {
    /// There are none: two files opened here can both be locked.
    None,
    /// The processes of one machine.
    Machine,
    /// All machines that have it mounted in the same way, by what is known of its kind.
    Hosts,
    /// The processes of this machine; whether those of others is not known.
    Unknown,
}

impl Store {
    /// Returns what can be told of the store's file system from this machine.
    #[must_use]
    pub fn file_system(&self) -> FileSystem {
        let device = fs::metadata(self.root()).map(|about| about.dev()).unwrap_or(0);
        let device = (rustix::fs::major(device), rustix::fs::minor(device));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount = mounts.lines().filter_map(Mount::read).find(|mount| mount.device == device);
        let is_network = self.on_network;
        let locks = match (self.locks_exclude(), &mount) {
            (Some(false), _) => LockReach::None,
            (_, Some(mount)) if is_network => mount.locks(),
            (_, None) if is_network => LockReach::Unknown,
            _ => LockReach::Machine,
        };
        FileSystem { kind: mount.map(|mount| mount.kind.to_owned()), is_network, locks }
    }

    /// Tells whether a lock on a file keeps another opening of it from one, if that can be tried.
    fn locks_exclude(&self) -> Option<bool> {
        let file = self.temporary(0o600).ok()?;
        let again = fs::File::open(file.path()).ok()?;
        if file.as_file().try_lock().is_err() {
            return Some(false);
        }
        Some(again.try_lock().is_err())
    }
}

/// A line of `/proc/self/mountinfo` (proc(5)).
struct Mount<'a> {
    device: (u32, u32),
    kind: &'a str,
    options: Vec<&'a str>,
}

impl<'a> Mount<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (mount, kind) = line.split_once(" - ")?;
        let (major, minor) = mount.split(' ').nth(2)?.split_once(':')?;
        let device = (major.parse().ok()?, minor.parse().ok()?);
        let own = mount.split(' ').nth(5)?;
        let mut words = kind.split(' ');
        let (kind, of_server) = (words.next()?, words.nth(1).unwrap_or_default());
        let options = own.split(',').chain(of_server.split(',')).collect();
        Some(Self { device, kind, options })
    }

    /// Returns how far locks reach on such a network file system.
    fn locks(&self) -> LockReach {
        let has = |option: &str| self.options.contains(&option);
        let local = ["nolock", "local_lock=all", "local_lock=flock", "localflock", "nobrl"];
        match self.kind {
            "fuse.sshfs" => LockReach::Machine,
            _ if local.iter().any(|option| has(option)) => LockReach::Machine,
            "lustre" if !has("flock") => LockReach::Machine,
            "nfs" | "nfs4" | "ceph" | "lustre" | "fuse.glusterfs" => LockReach::Hosts,
            _ => LockReach::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_locks_reach_is_told_by_the_mount() {
        let told = |line: &str| {
            let mount = Mount::read(line).expect("it reads");
            (mount.device, mount.locks())
        };
        let nfs = "90 28 0:52 / /shared rw,relatime shared:1 - nfs4 srv:/x rw,vers=4.2";
        assert_eq!(told(nfs), ((0, 52), LockReach::Hosts));
        let alone = format!("{nfs},local_lock=all");
        assert_eq!(told(&alone).1, LockReach::Machine);
        let sshfs = "91 28 0:53 / /far rw,nosuid - fuse.sshfs host:/x rw,user_id=0";
        assert_eq!(told(sshfs).1, LockReach::Machine);
        let lustre = "92 28 0:54 / /scratch rw - lustre a@tcp:/x rw,lazystatfs";
        assert_eq!(told(lustre).1, LockReach::Machine);
        assert_eq!(told(&format!("{lustre},flock")).1, LockReach::Hosts);
        assert_eq!(told("93 28 0:55 / /w rw - beegfs b rw").1, LockReach::Unknown);
    }
}
