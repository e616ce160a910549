"""Writes a RAW dataset whose labelled file has 12 MB, and whose only turn without a label is the last one."""

import json
import pathlib
import sys

TURNS = 20
CONVERSATIONS = 1_800

folder = pathlib.Path(sys.argv[1])
for split in ("train", "val"):
    (folder / split).mkdir(parents=True)
    with open(folder / split / "odd [1] name.jsonl", "w", encoding="utf-8") as file:
        conversations = CONVERSATIONS if split == "train" else 2
        for number in range(conversations):
            turns = [
                {
                    "turnIndex": turn + 1,
                    "messageId": f"{number:06}-{turn:02}-message",
                    "userMessage": f"why does step {turn} of the build fail with error {number % 3}?",
                    "modelMessage": "Because a file is missing.",
                }
                for turn in range(TURNS)
            ]
            if number == conversations - 1:
                turns[-1]["userMessage"] = " "
            json.dump({"conversationId": f"{number:06}-conversation", "turnsArray": turns}, file)
            file.write("\n")
