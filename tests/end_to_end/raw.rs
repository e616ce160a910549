//! RAW is never written, whatever the paths say.

use crate::harness::*;
use std::fs;
use std::path::{Path, PathBuf};

/// A small RAW dataset.
fn dataset(home: &Home, name: &str) -> PathBuf {
    home.write(
        &format!("{name}/train/short.json"),
        array(&[conversation("a", &["one", "two"])]),
    );
    home.write(
        &format!("{name}/val/short.json"),
        array(&[conversation("b", &["three"])]),
    );
    home.write(
        &format!("{name}/metadata.json"),
        r#"{"actual_counts":{"train":{"short":1},"val":{"short":1}}}"#,
    );
    home.path(name)
}

fn set_readonly(folder: &Path, readonly: bool) {
    use std::os::unix::fs::PermissionsExt;
    for path in snapshot(folder).into_keys() {
        let bits = match (path.is_dir(), readonly) {
            (true, true) => 0o555,
            (true, false) => 0o755,
            (false, true) => 0o444,
            (false, false) => 0o644,
        };
        fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
    }
}

#[test]
fn raw_is_as_it_was_after_every_kind_of_run() {
    let service = Service::well();
    let home = Home::new();
    let raw = home.path("ds");
    copy(
        &samples().join("devchat_sample_20261101/test"),
        &raw.join("test"),
    );
    copy(&samples().join("broken"), &raw.join("broken"));
    fs::copy(
        samples().join("devchat_sample_20261101/metadata.json"),
        raw.join("metadata.json"),
    )
    .unwrap();
    // Root may write where permissions forbid it, so the tree is compared, too.
    set_readonly(&raw, true);
    let before = snapshot(&raw);
    let label =
        |output: &str| Softlabel::label(&service, &raw, &home.path(output)).arg("--no-rationales");
    label("out").ends(1);
    label("out").arg("--salvage").ends(1);
    let good = home.path("ds/test");
    for file in files(&good) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        Softlabel::label(&service, &file, &home.path(&format!("lone/{name}l")))
            .arg("--no-rationales")
            .ends(0);
    }
    let broken = home.path("ds/broken/stray_quote.json");
    Softlabel::label(&service, &broken, &home.path("lone/broken.jsonl")).ends(3);
    let running = label("killed").arg("--dry-run").start();
    running.kill();
    assert_eq!(snapshot(&raw), before, "RAW was changed");
    set_readonly(&raw, false);
}

#[test]
fn a_dataset_on_a_read_only_tree_is_labelled_beside_it() {
    let service = Service::well();
    let home = Home::new();
    let raw = dataset(&home, "ds");
    set_readonly(&raw, true);
    let before = snapshot(&raw);
    // The layout of the real storage: LABELED_ beside RAW, in the folder above both.
    Softlabel::label(&service, &raw, &home.path(".")).ends(0);
    assert_eq!(snapshot(&raw), before);
    assert_eq!(lines(&home.path("LABELED_ds/train/short.jsonl")).len(), 2);
    set_readonly(&raw, false);
}

#[test]
fn no_path_leads_into_raw() {
    let service = Service::well();
    let home = Home::new();
    let raw = dataset(&home, "ds");
    let other = dataset(&home, "other");
    let lone = home.write("lone.json", array(&[conversation("a", &["one"])]));
    let link = |name: &str, target: &Path| {
        std::os::unix::fs::symlink(target, home.path(name)).unwrap();
        home.path(name)
    };
    let link_to_raw = link("link", &raw);
    let link_to_lone = link("link.json", &lone);
    let link_to_train = link("deep", &raw.join("train"));
    fs::create_dir(home.path("here")).unwrap();
    let through = home.path("here/../ds/out");
    let ok = home.path("ok");
    let ok_file = home.path("ok.jsonl");
    let in_raw = raw.join("train/short.json");
    let before = [snapshot(&raw), snapshot(&other)];
    let lone_before = fs::read(&lone).unwrap();

    let check = |input: &Path, output: &Path, work: Option<&Path>| {
        let mut label = Softlabel::label(&service, input, output);
        if let Some(work) = work {
            label = label.arg("--work").arg(work);
        }
        let outcome = label.run();
        let case = format!("{} -> {} ({work:?})", input.display(), output.display());
        assert_eq!(outcome.code, Some(2), "{case}: {outcome}");
        let error = outcome.error();
        assert!(
            error.contains("--output") || error.contains("--work") || error.contains("--input"),
            "{case}: {error}"
        );
    };
    // A dataset.
    check(&raw, &raw, None);
    check(&raw, &raw.join("out"), None);
    check(&raw, &raw.join("train"), None);
    check(&raw, &link_to_raw, None);
    check(&link_to_raw, &raw, None);
    check(&raw, &link_to_raw.join("new/deep"), None);
    check(&raw, &link_to_train, None);
    check(&raw, &through, None);
    check(&raw, &other, None);
    check(&raw, &other.join("new"), None);
    check(&raw, &ok, Some(&raw));
    check(&raw, &ok, Some(&raw.join("work")));
    check(&raw, &ok, Some(&link_to_train.join("work")));
    check(&raw, &ok, Some(&other.join("work")));
    // A lone file.
    check(&lone, &lone, None);
    check(&lone, &link_to_lone, None);
    check(&link_to_lone, &lone, None);
    check(&lone, &home.path("here/../lone.json"), None);
    check(&lone, &raw.join("labeled.jsonl"), None);
    check(&lone, &link_to_train.join("labeled.jsonl"), None);
    check(&lone, &ok_file, Some(&raw.join("work")));
    check(&lone, &ok_file, Some(&link_to_raw.join("work")));
    // A file of a dataset.
    check(&in_raw, &in_raw, None);
    check(&in_raw, &raw.join("train/short.jsonl"), None);
    check(&in_raw, &raw.join("short.jsonl"), None);
    check(&in_raw, &link_to_raw.join("x.jsonl"), None);
    check(&in_raw, &ok_file, Some(&raw.join("val/work")));

    assert_eq!([snapshot(&raw), snapshot(&other)], before);
    assert_eq!(fs::read(&lone).unwrap(), lone_before);
    assert!(!ok.exists() && !ok_file.exists() && !home.path("ok.jsonl.softlabel").exists());
    assert_eq!(
        service.stats().requests,
        0,
        "refused before anything is sent"
    );
}

#[test]
fn what_a_link_in_the_input_leads_to_is_raw() {
    let service = Service::well();
    let home = Home::new();
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(home.path(target), home.path(name)).unwrap();
    };
    // A split that lies elsewhere.
    dataset(&home, "ds");
    fs::create_dir(home.path("real")).unwrap();
    fs::rename(home.path("ds/train"), home.path("real/train")).unwrap();
    link("real/train", "ds/train");
    // A bucket file that lies where the labels would appear.
    dataset(&home, "other");
    home.write(
        "out/LABELED_other/val/short.jsonl",
        array(&[conversation("b", &["three"])]),
    );
    fs::remove_file(home.path("other/val/short.json")).unwrap();
    link("out/LABELED_other/val/short.jsonl", "other/val/short.json");
    let places = ["ds", "real", "other", "out"].map(|name| home.path(name));
    // A lock that comes and goes dates its folder.
    let there = || {
        let mut there = places.each_ref().map(|place| snapshot(place));
        there[3].retain(|path, _| !path.is_dir());
        there
    };
    let before = there();
    for (input, output, work) in [
        ("ds", "real/train", "w"),
        ("ds", "real/train/new", "w"),
        ("ds", "ok", "real/train/w"),
        // This one is found when the output is tried.
        ("other", "out", "w"),
        ("other", "out", "out/LABELED_other/val/short.jsonl"),
    ] {
        let label = Softlabel::label(&service, &home.path(input), &home.path(output));
        let label = label.arg("--overwrite").arg("--work");
        let outcome = label.arg(home.path(work)).ends(2);
        let error = outcome.error();
        assert!(
            error.contains("--output") || error.contains("--work"),
            "{error}"
        );
    }
    assert!(there() == before, "RAW was changed");
    assert!(!home.path("ok").exists() && !home.path("w").exists());
    assert_eq!(service.stats().requests, 0);
}

#[test]
fn what_comes_of_private_data_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let service = Service::well();
    let home = Home::new();
    let raw = dataset(&home, "ds");
    for file in files(&raw) {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let lone = home.write("lone.json", array(&[conversation("a", &["one"])]));
    fs::set_permissions(&lone, fs::Permissions::from_mode(0o600)).unwrap();
    Softlabel::label(&service, &raw, &home.path("out")).ends(0);
    Softlabel::label(&service, &lone, &home.path("lone/labeled.jsonl")).ends(0);
    for folder in ["out", "lone"] {
        for path in snapshot(&home.path(folder)).into_keys() {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
        }
    }
}

#[test]
fn without_its_metadata_a_dataset_is_protected_all_the_same() {
    let service = Service::well();
    let home = Home::new();
    let raw = dataset(&home, "ds");
    fs::remove_file(raw.join("metadata.json")).unwrap();
    let before = snapshot(&raw);
    for (output, work) in [("ds/out", "w"), ("ds", "w"), ("out", "ds/w"), ("out", "ds")] {
        let label = Softlabel::label(&service, &raw, &home.path(output));
        let outcome = label.arg("--work").arg(home.path(work)).run();
        assert_eq!(outcome.code, Some(2), "{output} {work}: {outcome}");
    }
    assert_eq!(snapshot(&raw), before);
    assert_eq!(service.stats().requests, 0);
}

#[test]
fn what_is_labelled_is_not_labelled_again() {
    let service = Service::well();
    let home = Home::new();
    dataset(&home, "ds");
    Softlabel::label(&service, &home.path("ds"), &home.path("out")).ends(0);
    service.clear();
    let again = Softlabel::label(&service, &home.path("out/LABELED_ds"), &home.path("out2"));
    let outcome = again.ends(2);
    assert!(outcome.error().contains("labelled dataset"), "{outcome}");
    let file = home.path("out/LABELED_ds/train/short.jsonl");
    let outcome = Softlabel::label(&service, &file, &home.path("x.jsonl")).ends(1);
    assert!(outcome.error().contains("not a dataset"), "{outcome}");
    assert_eq!(service.stats().requests, 0);
}

#[test]
fn a_path_of_the_wrong_kind_is_refused_before_anything_is_sent() {
    let service = Service::well();
    let home = Home::new();
    let raw = dataset(&home, "ds");
    let lone = home.write("lone.json", array(&[conversation("a", &["one"])]));
    let file = home.write("file", "x");
    home.write("taken/LABELED_ds", "a file where the folder is to be");
    for (input, output, work) in [
        (&raw, file.clone(), None),
        (&raw, file.join("below"), None),
        (&raw, home.path("taken"), None),
        (&raw, home.path("out"), Some(file.clone())),
        (&raw, home.path("out"), Some(file.join("below"))),
        (&lone, file.join("out.jsonl"), None),
        (&lone, home.path("out.jsonl"), Some(file.clone())),
    ] {
        let mut label = Softlabel::label(&service, input, &output);
        if let Some(work) = &work {
            label = label.arg("--work").arg(work);
        }
        let outcome = label.run();
        let case = format!("{} -> {} ({work:?})", input.display(), output.display());
        assert_eq!(outcome.code, Some(2), "{case}: {outcome}");
        assert!(
            outcome.error().contains("is a f"),
            "a file or a folder: {outcome}"
        );
    }
    assert_eq!(service.stats().requests, 0);
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn an_input_that_is_not_there_or_holds_nothing_is_said() {
    let service = Service::well();
    let home = Home::new();
    home.write("empty/readme.txt", "no buckets here");
    home.write("flat/short.json", "[]");
    home.write(
        "twice/train/short.json",
        array(&[conversation("a", &["one"])]),
    );
    home.write(
        "twice/train/short.jsonl",
        jsonl(&[conversation("a", &["one"])]),
    );
    for (input, says) in [
        ("nowhere", "nowhere"),
        ("empty", "<split>/<bucket>.json"),
        ("flat", "<split>/<bucket>.json"),
        ("twice", "same labelled file"),
    ] {
        let outcome = Softlabel::label(&service, &home.path(input), &home.path("out")).ends(1);
        assert!(outcome.error().contains(says), "{outcome}");
        assert!(!home.path("out").exists());
    }
    assert_eq!(service.stats().requests, 0);
}
