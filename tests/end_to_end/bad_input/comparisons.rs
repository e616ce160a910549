//! Outputs that cannot be compared.

use super::*;

impl World {
    /// `softlabel compare` of two paths.
    fn compare(&self, a: &str, b: &str) -> Softlabel {
        Softlabel::new(["compare"])
            .arg(self.home.path(a))
            .arg(self.home.path(b))
    }

    /// Two single files that are labelled: `one.jsonl` and `other.jsonl`.
    fn two_done(&self) {
        self.home
            .write("one.json", array(&[conversation("c1", &["one", "two"])]));
        self.home
            .write("other.json", array(&[conversation("d1", &["three"])]));
        for name in ["one", "other"] {
            let (input, output) = (format!("{name}.json"), format!("{name}.jsonl"));
            self.label(&input, &output).ends(0);
        }
    }
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("a comparison with nothing", 2, &["<B>"], "--help", |w| {
            Softlabel::new(["compare"]).arg(w.home.path("one.jsonl"))
        }),
        row(
            "an output that is not there",
            1,
            &["nowhere"],
            "give the folder of a labelled dataset",
            |w| {
                w.two_done();
                w.compare("one.jsonl", "nowhere")
            },
        ),
        row(
            "RAW in place of labels",
            1,
            &["raw"],
            "give the folder of a labelled dataset",
            |w| {
                w.dataset_done();
                w.compare("labeled/LABELED_raw", "raw")
            },
        ),
        row(
            "the folder above a labelled dataset",
            1,
            &["labeled is not a labelled dataset"],
            "LABELED_raw",
            |w| {
                w.dataset_done();
                w.compare("labeled", "labeled/LABELED_raw")
            },
        ),
        row(
            "outputs of different inputs",
            1,
            &["no turn in common", "one.json", "other.json"],
            "give two outputs of the same input",
            |w| {
                w.two_done();
                w.compare("one.jsonl", "other.jsonl")
            },
        ),
        row(
            "outputs of which nothing is labelled in both",
            1,
            &["is labelled in both"],
            "--only failed",
            |w| {
                w.two_done();
                let line = r#"{"conversationId":"c1","messageId":"c1-m0","split":null,"bucket":null,"labeling_error":{"code":"transient","message":"x"}}"#;
                let other = line.replace("c1-m0", "c1-m1");
                w.home.write("one.jsonl", format!("{line}\n{other}\n"));
                w.compare("one.jsonl", "one.jsonl")
            },
        ),
        row(
            "a labelled file with a broken line",
            1,
            &["one.jsonl, line 1"],
            "run the same label command again",
            |w| {
                w.two_done();
                w.home.write("one.jsonl", "{\"conversationId\": \n");
                w.compare("one.jsonl", "one.jsonl")
            },
        ),
        row(
            "a soft label that is none",
            1,
            &["line 1", "soft_label is not between 0 and 1"],
            "run the same label command again",
            |w| {
                w.two_done();
                let labels = fs::read_to_string(w.home.path("one.jsonl")).unwrap();
                let labels = labels.replacen("\"soft_label\":0.", "\"soft_label\":7.", 1);
                w.home.write("one.jsonl", labels);
                w.compare("one.jsonl", "one.jsonl")
            },
        ),
        row(
            "a hard label that is none",
            1,
            &["line 1", "hard_label is neither 0 nor 1"],
            "run the same label command again",
            |w| {
                w.two_done();
                let labels = fs::read_to_string(w.home.path("one.jsonl")).unwrap();
                let labels = labels.replacen("\"hard_label\":", "\"hard_label\":3", 1);
                w.home.write("one.jsonl", labels);
                w.compare("one.jsonl", "one.jsonl")
            },
        ),
        row(
            "RAW that was not labelled",
            1,
            &["other.json is not the file that was labelled"],
            "give the RAW data of these labels",
            |w| {
                w.two_done();
                let labels = fs::read_to_string(w.home.path("one.jsonl")).unwrap();
                copy(
                    &w.home.path("one.jsonl.softlabel"),
                    &w.home.path("two.jsonl.softlabel"),
                );
                let labels = labels.replacen("\"soft_label\":0.", "\"soft_label\":0.5", 1);
                w.home.write("two.jsonl", labels);
                let compare = w.compare("one.jsonl", "two.jsonl");
                compare.arg("--input").arg(w.home.path("other.json"))
            },
        ),
    ]
}
