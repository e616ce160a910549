//! Folders that are no dataset, and datasets with a bad bucket.

use super::*;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "an empty folder",
            1,
            &["--input", "raw", "<split>/<bucket>.json"],
            "give the dataset's own folder",
            |w| {
                fs::create_dir(w.home.path("raw")).unwrap();
                w.label("raw", "labeled")
            },
        ),
        row(
            "a folder with metadata alone",
            1,
            &["--input", "raw"],
            "give the dataset's own folder",
            |w| {
                w.home.write("raw/metadata.json", "{}");
                w.label("raw", "labeled")
            },
        ),
        row(
            "a split in place of its dataset",
            1,
            &["--input", "raw/train"],
            "give the dataset's own folder",
            |w| {
                w.dataset();
                w.label("raw/train", "labeled")
            },
        ),
        row(
            "the folder above the dataset",
            1,
            &["--input", "a folder of datasets: raw", "base/raw"],
            "give the dataset's own folder",
            |w| {
                w.home.write("base/raw/train/short.json", good());
                w.label("base", "labeled")
            },
        ),
        row(
            "a folder of datasets beside other files",
            1,
            &["--input", "a folder of datasets: raw", "base/raw"],
            "give the dataset's own folder",
            |w| {
                w.home.write("base/raw/train/short.json", good());
                w.home.write("base/broken/cut_off.json", "[{");
                w.label("base", "labeled")
            },
        ),
        row(
            "nothing but compressed buckets",
            1,
            &["--input", "train/short.json.gz is not read"],
            "unpack",
            |w| {
                w.home.write("raw/train/short.json.gz", good());
                w.label("raw", "labeled")
            },
        ),
        row(
            "nothing but packed buckets under names of JSON",
            1,
            &[
                "--input",
                "train/short.json is not read: it is a Parquet file",
            ],
            "convert it",
            |w| {
                w.home.write("raw/train/short.json", "PAR1\x15\x04PAR1");
                w.label("raw", "labeled")
            },
        ),
        row(
            "a bucket of no format",
            1,
            &[
                "raw/train/long.json",
                "byte 0",
                "its fields are question (a text)",
            ],
            "JSON array",
            |w| {
                let label = w.dataset();
                w.home
                    .write("raw/train/long.json", "{\"question\": \"a\"}\n".repeat(2));
                label
            },
        ),
        row(
            "a bucket that is a folder",
            1,
            &["--input", "raw"],
            "give the dataset's own folder",
            |w| {
                fs::create_dir_all(w.home.path("raw/train/short.json")).unwrap();
                w.label("raw", "labeled")
            },
        ),
        row(
            "a bucket that is a pipe",
            1,
            &["--input", "raw"],
            "give the dataset's own folder",
            |w| {
                fs::create_dir_all(w.home.path("raw/train")).unwrap();
                mkfifo(&w.home.path("raw/train/short.json"));
                w.label("raw", "labeled")
            },
        ),
        row(
            "a labelled dataset",
            2,
            &["--input", "LABELED_raw"],
            "give the RAW one",
            |w| {
                w.dataset_done();
                w.label("labeled/LABELED_raw", "again")
            },
        ),
        row(
            "two files for one bucket",
            1,
            &["--input", "train/short.json", "train/short.jsonl"],
            "remove one",
            |w| {
                w.dataset();
                w.home.write(
                    "raw/train/short.jsonl",
                    jsonl(&[conversation("c1", &["one"])]),
                );
                w.label("raw", "labeled")
            },
        ),
        row(
            "a bucket that is a link to nothing",
            1,
            &["train/long.json"],
            "remove the link",
            |w| {
                let label = w.dataset();
                symlink("nowhere", w.home.path("raw/train/long.json")).unwrap();
                label
            },
        ),
        row(
            "a bucket that is a link to itself",
            1,
            &["train/long.json"],
            "remove the link",
            |w| {
                let label = w.dataset();
                symlink("long.json", w.home.path("raw/train/long.json")).unwrap();
                label
            },
        ),
        row(
            "a name that is not UTF-8",
            1,
            &["raw/train", "UTF-8"],
            "rename it",
            |w| {
                let label = w.dataset();
                let name = OsString::from_vec(b"sh\xffrt.json".to_vec());
                fs::write(w.home.path("raw/train").join(name), good()).unwrap();
                label
            },
        ),
        row(
            "one bucket of two is empty",
            1,
            &["train/long.json", "the file is empty"],
            "export it again",
            |w| {
                let label = w.dataset();
                w.home.write("raw/train/long.json", "");
                label
            },
        ),
        row(
            "two buckets are no datasets",
            1,
            &["long.json", "medium.json", "byte 0"],
            "JSON array",
            |w| {
                let label = w.dataset();
                w.home.write("raw/train/long.json", "<html>");
                w.home.write("raw/test/medium.json", "{}");
                label
            },
        ),
        row(
            "a bucket is cut off",
            1,
            &["raw/train/short.json", "byte", "cut off"],
            "--salvage",
            |w| {
                let label = w.dataset();
                let text = good();
                w.home
                    .write("raw/train/short.json", &text[..text.len() - 30]);
                label
            },
        ),
    ]
}
