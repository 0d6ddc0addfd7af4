//! Examines an SQLite database and its file for dangers.

use std::path::Path;

use mocha_session_core::store::Finding;
use sqlx::SqliteConnection;

use super::mib;

/// SQLite truncates its write-ahead log when no reader needs it.
const USUAL_WAL: u64 = 64 * 1024 * 1024;
/// Free pages below this are reused soon.
const USUAL_FREE: i64 = 10_000;

pub(crate) async fn examine(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Finding>> {
    let version: String =
        sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut *connection).await?;
    let mut found = vec![Finding::note(format!("the library is SQLite {version}"))];
    let files: Vec<(i64, String, Option<String>)> =
        sqlx::query_as("PRAGMA database_list").fetch_all(&mut *connection).await?;
    let main = files.into_iter().find(|(_, name, _)| name == "main");
    let Some(file) = main.and_then(|(.., file)| file).filter(|file| !file.is_empty()) else {
        found.push(Finding::danger("the database is in memory: sessions end with this process"));
        return Ok(found);
    };
    let journal: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
    if journal != "wal" {
        found.push(Finding::danger(format!(
            "journal_mode is {journal}: readers and the writer wait for each other, and a busy \
             application gets timeouts; run `PRAGMA journal_mode = WAL` once"
        )));
    }
    let synchronous: i64 =
        sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await?;
    match synchronous {
        0 => found.push(Finding::danger(
            "synchronous is off: a power cut may damage the database; use normal or full",
        )),
        1 => found.push(Finding::note(
            "synchronous is normal: a power cut loses the last writes, so that a logout may come \
             back; `?synchronous=full` waits for the disk",
        )),
        _ => {}
    }
    let (pages, free): (i64, i64) = (
        sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *connection).await?,
        sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *connection).await?,
    );
    let page: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(connection).await?;
    found.push(Finding::note(format!("the file takes {}", mib(pages * page))));
    if free > USUAL_FREE && free * 2 > pages {
        found.push(Finding::note(format!(
            "{} of the file are free; `VACUUM` shrinks it",
            mib(free * page)
        )));
    }
    of_file(Path::new(&file), &mut found);
    found.push(Finding::note(
        "the database is in this process, so there is no second clock to compare",
    ));
    Ok(found)
}

fn of_file(file: &Path, found: &mut Vec<Finding>) {
    let wal = std::fs::metadata(format!("{}-wal", file.display())).map_or(0, |wal| wal.len());
    if wal > USUAL_WAL {
        found.push(Finding::danger(format!(
            "the write-ahead log takes {} MiB: a reader holds an old snapshot open; look for another \
             program that has the file open",
            wal / (1024 * 1024)
        )));
    }
    #[cfg(unix)]
    permissions(file, found);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let whole = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    if let Some(kind) = network(&mounts, &whole) {
        found.push(Finding::danger(format!(
            "the file is on a network file system ({kind}): its locks are not reliable, so that \
             writes are lost and the database may be damaged; use a local disk or a server"
        )));
    }
}

#[cfg(unix)]
fn permissions(file: &Path, found: &mut Vec<Finding>) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| std::fs::metadata(path).map_or(0, |about| about.permissions().mode());
    let (own, folder) = (mode(file), file.parent().map_or(0, mode));
    if own & 0o002 != 0 || (folder & 0o002 != 0 && folder & 0o1000 == 0) {
        found.push(Finding::danger(
            "every user of the machine can change the file or replace it, and so end sessions or \
             bring ended ones back; run `chmod 600` on it, and `chmod 700` on its folder",
        ));
    } else if own & 0o004 != 0 && folder & 0o001 != 0 {
        found.push(Finding::note(
            "every user of the machine can read the file: the sessions are encrypted, but their \
             number and times are not; run `chmod 600` on it",
        ));
    }
}

/// Returns the type of the network file system that a file is on, from Linux' list of mounts.
fn network(mounts: &str, file: &Path) -> Option<String> {
    let mut deepest: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (before.split(' ').nth(4), after.split(' ').next()) else {
            continue;
        };
        // A space in the path is written as `\040`.
        let point = point.replace("\\040", " ");
        let depth = Path::new(&point).components().count();
        if file.starts_with(&point) && deepest.is_none_or(|(known, _)| known <= depth) {
            deepest = Some((depth, kind));
        }
    }
    let (_, kind) = deepest?;
    let shared = ["nfs", "cifs", "smb", "9p", "ceph", "glusterfs", "lustre", "afs", "gpfs"];
    let remote = shared.iter().any(|known| kind.starts_with(known))
        || matches!(kind, "fuse.sshfs" | "fuse.glusterfs" | "fuse.s3fs" | "fuse.rclone");
    remote.then(|| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_on_a_network_file_system_is_found_by_its_deepest_mount() {
        let mounts = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
                      30 22 0:40 / /srv/share rw shared:9 - nfs4 server:/share rw\n\
                      31 30 0:41 / /srv/share/local rw - tmpfs tmpfs rw\n\
                      32 22 0:42 / /mnt/my\\040drive rw - cifs //host/drive rw\n";
        let kind = |file: &str| network(mounts, Path::new(file));
        assert_eq!(kind("/srv/share/app/s.db").as_deref(), Some("nfs4"));
        assert_eq!(kind("/mnt/my drive/s.db").as_deref(), Some("cifs"));
        for local in ["/srv/share/local/s.db", "/srv/shared.db", "/var/s.db"] {
            assert_eq!(kind(local), None, "{local}");
        }
        assert_eq!(network("", Path::new("/var/s.db")), None);
    }
}
