//! The processes of this machine as `/proc` shows them, and who descends from whom. It reads and never acts.

use std::collections::BTreeMap;
use std::fs;

/// One process, as `/proc/<id>/stat` tells (proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) id: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
}

/// Every process that can be seen now.
pub(super) fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            parse_stat(id, &fs::read(entry.path().join("stat")).ok()?)
        })
        .collect()
}

/// Parent and group; they stand after the name, which is in parentheses and may contain anything.
fn parse_stat(id: i32, stat: &[u8]) -> Option<Process> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Process { id, parent, group })
}

/// Everything below `root`, without it.
pub(super) fn descendants(root: i32, all: &[Process]) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|process| process.parent == parent && process.id != root);
        for child in children.copied().collect::<Vec<_>>() {
            if !found.contains(&child) {
                found.push(child);
                parents.push(child.id);
            }
        }
    }
    found
}

/// Whether `process` is `root` or descends from it.
pub(super) fn ancestors_within(process: i32, root: i32, all: &[Process]) -> bool {
    process == root || descendants(root, all).iter().any(|found| found.id == process)
}

/// The memory that `root` and everything below it hold for themselves, in bytes: without files, with shared memory.
pub(super) fn memory_below(root: i32) -> u64 {
    let all = processes();
    let own = std::iter::once(root).chain(descendants(root, &all).into_iter().map(|process| process.id));
    own.filter_map(|id| fs::read_to_string(format!("/proc/{id}/status")).ok()).map(|text| private_bytes(&text)).sum()
}

/// The bytes of files on `device` that `root` and everything below it hold open although they have no name any more.
pub(super) fn unnamed_bytes_below(root: i32, device: u64) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let all = processes();
    let mut seen = BTreeMap::new();
    for process in descendants(root, &all) {
        for file in fs::read_dir(format!("/proc/{}/fd", process.id)).into_iter().flatten().flatten() {
            // through the link: the file itself
            let Ok(found) = fs::metadata(file.path()) else { continue };
            if found.dev() == device && found.is_file() && found.nlink() == 0 {
                seen.insert(found.ino(), found.blocks() * 512);
            }
        }
    }
    seen.values().sum()
}

fn private_bytes(status: &str) -> u64 {
    let kib = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let counts = matches!(name, "RssAnon" | "RssShmem" | "VmSwap");
        counts.then(|| value.trim().strip_suffix(" kB")?.parse::<u64>().ok())?
    };
    status.lines().filter_map(kib).sum::<u64>() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_numbers_misleads_nobody() {
        let stat = b"42 (x) S 7 8 (y) R 1 2 3) S 40 41 41 0 -1";
        assert_eq!(parse_stat(42, stat), Some(Process { id: 42, parent: 40, group: 41 }));
        assert_eq!(parse_stat(42, b"42 (x"), None);
    }

    #[test]
    fn descendants_are_found_to_any_depth_and_nobody_else() {
        let process = |id, parent| Process { id, parent, group: id };
        let all = [process(1, 0), process(10, 1), process(11, 10), process(12, 11), process(13, 10), process(20, 1)];
        let mut ids: Vec<i32> = descendants(10, &all).iter().map(|process| process.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, [11, 12, 13]);
        assert!(descendants(20, &all).is_empty());
        assert!(ancestors_within(12, 10, &all) && ancestors_within(10, 10, &all) && !ancestors_within(20, 10, &all));
    }

    #[test]
    fn memory_is_what_a_process_has_for_itself() {
        let status =
            "Name:\tx\nVmRSS:\t  900 kB\nRssAnon:\t     100 kB\nRssFile:\t 700 kB\nRssShmem:\t 50 kB\nVmSwap:\t 6 kB\n";
        assert_eq!(private_bytes(status), 156 * 1024);
    }
}
