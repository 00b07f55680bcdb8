//! Whether a file is still the one that was read, without reading it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::time::UnixMillis;

#[cfg(unix)]
use unix as system;
#[cfg(not(unix))]
use windows as system;

/// The marks that change when a file is replaced, removed or written: device, inode, link count, size and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(system::Facts);

impl Identity {
    /// The identity of an open file. One system call.
    pub(crate) fn of_file(file: &File) -> io::Result<Self> {
        system::of_file(file).map(Self)
    }

    /// The identity of the file at a path, symbolic links followed; `None` if nothing is there.
    pub(crate) fn of_path(path: &Path) -> io::Result<Option<Self>> {
        present(system::of_path(path)).map(|facts| facts.map(Self))
    }

    /// The identity of the file at that path, for which the kernel starts at its open folder.
    pub(crate) fn in_folder(folder: &File, path: &Path) -> io::Result<Option<Self>> {
        present(system::in_folder(folder, path)).map(|facts| facts.map(Self))
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.0.size()
    }

    /// Whether both are the same file, even if its contents changed.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        self.0.is_same_file(&other.0)
    }

    /// Whether another write might have left no trace in the times, if the file was read between these two instants:
    /// kernels stamp files with the time of the last tick (at most 10 ms ago), some file systems with whole seconds.
    pub(crate) fn is_racy(&self, before: UnixMillis, after: UnixMillis) -> bool {
        self.0.stamps().into_iter().any(|(stamp, is_whole_second)| {
            let grain = if is_whole_second {
                Duration::from_millis(2020)
            } else {
                Duration::from_millis(20)
            };
            before <= stamp.plus(grain) && stamp <= after.plus(grain)
        })
    }
}

/// Whether `fstat` of an open descriptor shows others' changes at once. Network and FUSE file systems do not.
pub(crate) fn is_local(file: &File) -> bool {
    system::is_local(file)
}

/// Opens a folder if files in it are local in that sense. Never waits: a pipe in its place is no folder.
pub(crate) fn local_folder(folder: &Path) -> Option<File> {
    system::folder(folder).filter(is_local)
}

fn present<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
mod unix {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use rustix::fs::{AtFlags, Mode, OFlags, Stat};

    use crate::time::UnixMillis;

    /// Only what is compared: a whole `Stat` costs more to copy than to ask for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Facts {
        device: u64,
        inode: u64,
        links: u64,
        size: i64,
        /// Seconds and nanoseconds.
        modified: (i64, i64),
        changed: (i64, i64),
    }

    impl Facts {
        #[allow(
            clippy::useless_conversion,
            clippy::unnecessary_cast,
            clippy::cast_lossless,
            clippy::cast_possible_wrap,
            clippy::cast_sign_loss,
            reason = "the widths and signs of these fields differ by architecture, and none has more than 64 bits"
        )]
        fn of(stat: &Stat) -> Self {
            Self {
                device: stat.st_dev as u64,
                inode: stat.st_ino as u64,
                links: stat.st_nlink as u64,
                size: stat.st_size as i64,
                modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
                changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            }
        }

        pub(super) fn size(&self) -> u64 {
            u64::try_from(self.size).unwrap_or(0)
        }

        pub(super) fn is_same_file(&self, other: &Self) -> bool {
            self.inode == other.inode && self.device == other.device
        }

        /// Modification and change time, and whether each looks like a whole second.
        pub(super) fn stamps(&self) -> [(UnixMillis, bool); 2] {
            [self.modified, self.changed].map(|(seconds, nanos)| {
                let millis = seconds
                    .saturating_mul(1000)
                    .saturating_add(nanos / 1_000_000);
                (UnixMillis(millis), nanos == 0)
            })
        }
    }

    pub(super) fn of_file(file: &File) -> io::Result<Facts> {
        Ok(Facts::of(&rustix::fs::fstat(file)?))
    }

    pub(super) fn of_path(path: &Path) -> io::Result<Facts> {
        Ok(Facts::of(&rustix::fs::stat(path)?))
    }

    pub(super) fn folder(path: &Path) -> Option<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty());
        folder.ok().map(File::from)
    }

    pub(super) fn in_folder(folder: &File, path: &Path) -> io::Result<Facts> {
        let name = path.file_name().unwrap_or_default();
        Ok(Facts::of(&rustix::fs::statat(
            folder,
            name,
            AtFlags::empty(),
        )?))
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the width and sign of f_type differ by architecture, and the numbers have 32 bits"
    )]
    pub(super) fn is_local(file: &File) -> bool {
        const REMOTE: [u32; 16] = [
            0x6969,      // NFS
            0x517B,      // SMB
            0xFF53_4D42, // CIFS
            0xFE53_4D42, // SMB2
            0x6573_5546, // FUSE, virtiofs, sshfs
            0x0102_1997, // 9P (WSL, virtual machines)
            0x5346_414F, // AFS
            0x6B41_4653, // kAFS
            0x00C3_6400, // Ceph
            0x7375_7245, // Coda
            0x564C,      // NCP
            0x0116_1970, // GFS2
            0x7461_636F, // OCFS2
            0x0BD0_0BD0, // Lustre
            0x786F_4256, // VirtualBox shared folder
            0xBACB_ACBC, // VMware shared folder
        ];
        rustix::fs::fstatfs(file).is_ok_and(|system| !REMOTE.contains(&(system.f_type as u32)))
    }

    #[cfg(target_vendor = "apple")]
    pub(super) fn is_local(file: &File) -> bool {
        const MNT_LOCAL: u32 = 0x1000;
        rustix::fs::fstatfs(file).is_ok_and(|system| system.f_flags & MNT_LOCAL != 0)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    pub(super) fn is_local(_file: &File) -> bool {
        false
    }
}

#[cfg(not(unix))]
mod windows {
    use std::fs::File;
    use std::io;
    use std::os::windows::fs::OpenOptionsExt as _;
    use std::path::Path;

    use winapi_util::file::information;

    use crate::time::UnixMillis;

    /// Not the creation time: a file that takes the name of one that went within 15 seconds gets that one's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Facts {
        volume: u64,
        index: u64,
        links: u64,
        size: u64,
        /// In tenths of a microsecond since 1601.
        modified: u64,
    }

    impl Facts {
        pub(super) fn size(&self) -> u64 {
            self.size
        }

        pub(super) fn is_same_file(&self, other: &Self) -> bool {
            self.index == other.index && self.volume == other.volume
        }

        pub(super) fn stamps(&self) -> [(UnixMillis, bool); 1] {
            const TICKS_OF_A_SECOND: u64 = 10_000_000;
            const UNIX_EPOCH: i64 = 11_644_473_600_000;
            let millis = i64::try_from(self.modified / 10_000).unwrap_or(i64::MAX);
            [(
                UnixMillis(millis.saturating_sub(UNIX_EPOCH)),
                self.modified.is_multiple_of(TICKS_OF_A_SECOND),
            )]
        }
    }

    pub(super) fn of_file(file: &File) -> io::Result<Facts> {
        let found = information(winapi_util::HandleRef::from_file(file))?;
        Ok(Facts {
            volume: found.volume_serial_number(),
            index: found.file_index(),
            links: found.number_of_links(),
            size: found.file_size(),
            modified: found.last_write_time().unwrap_or(0),
        })
    }

    /// Asks for no access, so that nobody who holds the file without sharing it is in the way.
    #[expect(clippy::disallowed_methods, reason = "this is where files are opened")]
    pub(super) fn of_path(path: &Path) -> io::Result<Facts> {
        /// Without it Windows opens no folder.
        const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
        let file = std::fs::OpenOptions::new()
            .access_mode(0)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
            .open(path)?;
        of_file(&file)
    }

    /// None is local here.
    pub(super) fn folder(_path: &Path) -> Option<File> {
        None
    }

    pub(super) fn in_folder(_folder: &File, path: &Path) -> io::Result<Facts> {
        of_path(path)
    }

    pub(super) fn is_local(_file: &File) -> bool {
        false
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "tests lay out files and read the clock by hand"
)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn wall() -> UnixMillis {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        UnixMillis(i64::try_from(since_epoch.as_millis()).unwrap())
    }

    #[test]
    fn nothing_is_no_identity() {
        let folder = TempDir::new().unwrap();
        assert_eq!(
            Identity::of_path(&folder.path().join("missing/file")).unwrap(),
            None
        );
    }

    #[test]
    fn a_replaced_removed_or_rewritten_file_is_another() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "a").unwrap();
        let file = File::open(&path).unwrap();
        let before = Identity::of_file(&file).unwrap();
        assert_eq!(Identity::of_path(&path).unwrap(), Some(before));
        // Wine does not replace an open file.
        #[cfg(not(unix))]
        drop(file);

        std::fs::write(folder.path().join("new"), "b").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        let after = Identity::of_path(&path).unwrap().unwrap();
        assert_ne!(after, before);
        assert!(!after.is_same_file(&before));
        #[cfg(unix)]
        assert_ne!(Identity::of_file(&file).unwrap(), before);
    }

    #[test]
    fn a_fresh_file_is_racy_and_an_old_one_is_not() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("file");
        let before = wall();
        std::fs::write(&path, "a").unwrap();
        let identity = Identity::of_path(&path).unwrap().unwrap();
        let (early, late) = (
            before.minus(Duration::from_secs(10)),
            before.plus(Duration::from_secs(10)),
        );
        assert!(identity.is_racy(before, before));
        assert!(identity.is_racy(early, late), "read slowly");
        assert!(!identity.is_racy(late, late));
        assert!(!identity.is_racy(early, early), "stamped by another clock");
    }
}
