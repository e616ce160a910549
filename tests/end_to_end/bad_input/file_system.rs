//! Disks that are full or read-only, and permissions.

use super::*;

/// Runs `label` where `script` has been run with the folder as `$0`, in a mount namespace of its own.
fn mounted(w: &World, label: Softlabel, script: &str) -> Softlabel {
    let folder = w.home.path("labeled");
    fs::create_dir_all(&folder).unwrap();
    let script = format!("{script} && exec \"$@\"");
    label.through(
        ["unshare", "-rm", "bash", "-c", &script]
            .map(OsString::from)
            .into_iter()
            .chain([folder.into()]),
    )
}

fn can_mount() -> bool {
    let script = "mount -t tmpfs -o size=64k none /tmp";
    let tried = Command::new("unshare")
        .args(["-rm", "bash", "-c", script])
        .output();
    tried.is_ok_and(|tried| tried.status.success())
}

pub(super) fn disk_rows() -> Vec<Row> {
    if !can_mount() {
        println!("no file systems can be mounted here: full and read-only disks are left out");
        return Vec::new();
    }
    vec![
        row(
            "a read-only output folder",
            1,
            &["labeled", "Read-only file system"],
            "another place",
            |w| {
                let label = w.dataset();
                mounted(w, label, "mount -t tmpfs -o ro none \"$0\"")
            },
        ),
        row(
            "a full disk",
            1,
            &["labeled", "No space left"],
            "free some space",
            |w| {
                let label = w.dataset();
                mounted(
                    w,
                    label,
                    "mount -t tmpfs -o size=8k none \"$0\" && head -c 8192 /dev/zero > \"$0/x\"",
                )
            },
        ),
        asking(
            "a disk that fills up",
            &["labeled", "No space left"],
            "free some space",
            |w| {
                let label = w.dataset();
                mounted(w, label, "mount -t tmpfs -o size=12k none \"$0\"")
            },
        ),
        asking(
            "a disk too small for the result",
            &["labeled", "No space left"],
            "free some space",
            |w| {
                let label = w.dataset();
                mounted(w, label, "mount -t tmpfs -o size=16k none \"$0\"")
            },
        ),
    ]
}

fn forbid(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}

/// Runs `label` as somebody whom permissions bind: root too, without its leave to pass over them.
fn bound(label: Softlabel) -> Softlabel {
    if is_root() {
        label.through(WITHOUT_LEAVE)
    } else {
        label
    }
}

const WITHOUT_LEAVE: [&str; 3] = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
];

fn is_root() -> bool {
    let home = Home::new();
    let path = home.write("forbidden", "");
    forbid(&path);
    fs::read(path).is_ok()
}

pub(super) fn permission_rows() -> Vec<Row> {
    let [program, flags @ ..] = WITHOUT_LEAVE;
    let dropped = || Command::new(program).args(flags).arg("true").status();
    if is_root() && !dropped().is_ok_and(|status| status.success()) {
        println!("root cannot give up its leave here: rows about permissions are left out");
        return Vec::new();
    }
    vec![
        row(
            "a file that may not be read",
            1,
            &["in.json", "Permission denied"],
            "the right to",
            |w| {
                let label = w.good();
                forbid(&w.home.path("in.json"));
                bound(label)
            },
        ),
        row(
            "a split that may not be listed",
            1,
            &["raw/train", "Permission denied"],
            "the right to",
            |w| {
                let label = w.dataset();
                forbid(&w.home.path("raw/train"));
                bound(label)
            },
        ),
        row(
            "an output folder that may not be written",
            1,
            &["labeled", "Permission denied"],
            "the right to",
            |w| {
                let label = w.dataset();
                fs::create_dir(w.home.path("labeled")).unwrap();
                fs::set_permissions(w.home.path("labeled"), fs::Permissions::from_mode(0o555))
                    .unwrap();
                bound(label)
            },
        ),
    ]
}
