"""Loads labelled datasets as people do, and compares what comes out with the labelled files."""

import json
import pathlib
import sys

import datasets
import pandas
import pyarrow
import pyarrow.parquet

TYPES = {
    "conversationId": "string",
    "messageId": "string",
    "split": "string",
    "bucket": "string",
    "hard_label": "int8",
    "soft_label": "float64",
    "rationale": "string",
}
COLUMNS = {
    "position": pyarrow.int64(),
    "turn": pyarrow.int32(),
    "turn_index": pyarrow.int64(),
    "hard_label": pyarrow.int8(),
    "soft_label": pyarrow.float64(),
    "low": pyarrow.float64(),
    "p0": pyarrow.float64(),
    "censored": pyarrow.bool_(),
    "reused": pyarrow.bool_(),
    "error_code": pyarrow.string(),
    "message": pyarrow.string(),
}


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def check(work, name):
    folder = work / "labeled" / f"LABELED_{name}"
    files = {}
    for path in sorted(folder.glob("*/*.jsonl")):
        if path.parent.name != "details":
            files.setdefault(path.parent.name, []).append(path)
    expected = {split: [line for path in paths for line in lines(path)] for split, paths in files.items()}

    loaded = datasets.load_dataset(str(folder))
    names = {split: "validation" if split == "val" else split for split in expected}
    assert set(loaded) == set(names.values()), loaded
    for split, turns in expected.items():
        rows = loaded[names[split]]
        assert len(rows) == len(turns), (split, len(rows), len(turns))
        for key, kind in TYPES.items():
            assert rows.features[key].dtype == kind, (key, rows.features[key])
        assert [row["messageId"] for row in rows] == [turn["messageId"] for turn in turns]
        assert [row["soft_label"] for row in rows] == [turn.get("soft_label") for turn in turns]
        errors = [row["labeling_error"] and row["labeling_error"]["code"] for row in rows]
        assert errors == [turn.get("labeling_error", {}).get("code") for turn in turns]

    turns = sum(map(len, expected.values()))
    table = pyarrow.parquet.read_table(work / f"{name}.parquet")
    assert table.num_rows == turns, (table.num_rows, turns)
    for key, kind in COLUMNS.items():
        assert table.schema.field(key).type == kind, (key, table.schema.field(key).type)
    ordered = [turn for split in sorted(expected) for turn in expected[split]]
    assert table["messageId"].to_pylist() == [turn["messageId"] for turn in ordered]
    assert table["soft_label"].to_pylist() == [turn.get("soft_label") for turn in ordered]

    frame = pandas.read_parquet(work / f"{name}.parquet")
    assert len(frame) == turns
    frame = pandas.read_csv(work / f"{name}.csv", low_memory=False)
    assert len(frame) == turns and frame["hard_label"].dropna().isin([0, 1]).all()
    detailed = [path for paths in files.values() for path in paths]
    for path in detailed:
        details = pandas.read_json(folder / "details" / path.relative_to(folder), lines=True)
        assert len(details) == len(lines(path))
    size = max(path.stat().st_size for path in detailed)
    print(f"{name}: {turns} turns in {len(detailed)} files, the largest of {size / 1e6:.1f} MB, load")


if __name__ == "__main__":
    datasets.disable_progress_bars()
    for name in sys.argv[2:]:
        check(pathlib.Path(sys.argv[1]), name)
