//! What removes rings behind one's back: systemd, when the last session of a user ends.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Finding, Level};

/// Users below this are the system's, whose objects are never removed.
const FIRST_ORDINARY_UID: u32 = 1000;

/// Folders of settings; of two files of one name the first counts.
const FOLDERS: [&str; 4] = [
    "etc/systemd",
    "run/systemd",
    "usr/local/lib/systemd",
    "usr/lib/systemd",
];

pub(super) fn remove_ipc() -> Finding {
    let running = Path::new("/run/systemd/system").is_dir();
    let (removes, from) = setting(Path::new("/"));
    let uid = rustix::process::getuid().as_raw();
    let from = from.map_or_else(
        || "the default".to_owned(),
        |path| path.display().to_string(),
    );
    let word = if removes { "yes" } else { "no" };
    let found = if running {
        format!("systemd-logind: RemoveIPC={word} ({from}); this is user {uid}")
    } else {
        "systemd does not run here: nobody removes rings at a logout".to_owned()
    };
    let data = json!({ "systemd": running, "remove_ipc": removes, "from": from, "uid": uid });
    let finding = Finding::new("remove_ipc", found, data);
    if running && removes && uid >= FIRST_ORDINARY_UID {
        return finding.at(
            Level::Warning,
            "shm: and sysv: rings of this user vanish when the last session ends: set RemoveIPC=no in \
             /etc/systemd/logind.conf.d/ringduct.conf, or loginctl enable-linger, or use files",
        );
    }
    finding
}

/// The setting that counts and the file it is from: the main file first, then the additions in the
/// order of their names; the last one wins.
fn setting(root: &Path) -> (bool, Option<PathBuf>) {
    let folders = FOLDERS.map(|folder| root.join(folder));
    let main = folders.iter().map(|folder| folder.join("logind.conf"));
    let main = main.into_iter().find(|file| file.exists());
    let mut additions: Vec<PathBuf> = Vec::new();
    for folder in &folders {
        let Ok(entries) = fs::read_dir(folder.join("logind.conf.d")) else {
            continue;
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let mut before = additions.iter();
            let hidden = before.any(|file| file.file_name() == path.file_name());
            if path.extension().is_some_and(|end| end == "conf") && !hidden {
                additions.push(path);
            }
        }
    }
    additions.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    let mut current = (true, None);
    for file in main.into_iter().chain(additions) {
        if let Some(removes) = read(&fs::read_to_string(&file).unwrap_or_default()) {
            current = (removes, Some(file));
        }
    }
    current
}

/// What one file says, if it says something.
fn read(text: &str) -> Option<bool> {
    let value = |line: &str| {
        let (name, value) = line.trim().split_once('=')?;
        (name.trim() == "RemoveIPC").then(|| value.trim().to_ascii_lowercase())
    };
    match text.lines().filter_map(value).next_back()?.as_str() {
        "no" | "n" | "false" | "f" | "off" | "0" => Some(false),
        "yes" | "y" | "true" | "t" | "on" | "1" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the setting that logind would use is the one reported. Method: a tree of settings.
    #[test]
    fn the_last_addition_wins() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(setting(root.path()), (true, None));
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let text = "[Login]\n#RemoveIPC=yes\nRemoveIPC = no\n";
        let main = put("etc/systemd/logind.conf", text);
        assert_eq!(setting(root.path()), (false, Some(main)));
        put("usr/lib/systemd/logind.conf.d/50-x.conf", "RemoveIPC=no");
        let last = put("run/systemd/logind.conf.d/60-y.conf", "RemoveIPC=yes");
        put("run/systemd/logind.conf.d/70-z.txt", "RemoveIPC=no");
        assert_eq!(setting(root.path()), (true, Some(last)));
        put("etc/systemd/logind.conf.d/60-y.conf", "");
        let hidden = "the file of the same name is hidden";
        assert!(!setting(root.path()).0, "{hidden}");
    }
}
