#!/usr/bin/env bash
# Labels the sample and a larger dataset against the double of Azure OpenAI, and loads what comes out with
# pinned versions of datasets, pandas and pyarrow, which it installs under target/.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}
here=tests/loading tools=$target/tools/loading
mkdir -p "$target/tools"
# Written last: what is installed is complete, and is what is wanted now.
if ! cmp -s "$here/requirements.txt" "$tools/requirements.txt"; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
        --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$tools/"
fi

# As `cargo test --workspace` builds it: other features are wanted of less, and most crates would be built once more.
cargo test --quiet --locked --workspace --no-run
work=$(mktemp -d)
trap 'kill "$double" 2>/dev/null; wait; rm -rf "$work"' EXIT
"$target/debug/azure-openai-double" >"$work/endpoint" &
double=$!
until [[ -s $work/endpoint ]]; do
    kill -0 "$double"
    sleep 0.1
done

export AZURE_OPENAI_ENDPOINT=$(<"$work/endpoint") AZURE_OPENAI_API_KEY=x
export SOFTLABEL_TPM=4000000000 SOFTLABEL_RPM=4000000000 SOFTLABEL_PROGRESS=none
softlabel=$target/debug/softlabel
sample=samples/devchat_sample_20261101
"$tools/bin/python" "$here/large.py" "$work/large"
for raw in "$sample" "$work/large"; do
    "$softlabel" label --input "$raw" --output "$work/labeled" >/dev/null
    name=$(basename "$raw")
    "$softlabel" export "$work/labeled/LABELED_$name" --input "$raw" --to parquet -o "$work/$name.parquet"
    "$softlabel" export "$work/labeled/LABELED_$name" --input "$raw" --to csv -o "$work/$name.csv"
done
HF_HOME=$work/cache HF_HUB_OFFLINE=1 "$tools/bin/python" "$here/check.py" \
    "$work" "$(basename "$sample")" large
