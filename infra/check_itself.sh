#!/usr/bin/env bash
# Shows that infra/check.sh and infra/queries/check.sh find what they are for: each is run over a copy in which one
# thing is broken, and has to fail with words about it.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v "${BICEP:-bicep}" >/dev/null || ! command -v npm >/dev/null; then
    echo "not checked: whether the checks find anything, for want of Bicep's compiler or npm" >&2
    [[ ${CI:-} != true ]]
    exit
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}

# finds WHAT WORDS CHECK BREAK...: a copy, in which BREAK was run, fails CHECK with WORDS. One deployment is enough.
finds() {
    local what=$1 words=$2 check=$3 copy="$scratch/copy"
    shift 3
    rm -rf "$copy"
    mkdir "$copy"
    cp -r functions "$copy"
    cp -r infra "$copy"
    find "$copy/infra/snapshots" -name '*.bicepparam' ! -name 'everything-new.*' -delete
    (cd "$copy" && "$@")
    if ! { diff -qr infra "$copy/infra" || true; } | grep -v '^Only in' >/dev/null; then
        echo "$what: nothing was broken" >&2
        exit 1
    fi
    if (cd "$copy" && "$check") >"$scratch/said" 2>&1; then
        echo "$what is not found" >&2
        exit 1
    fi
    if ! grep -qF "$words" "$scratch/said"; then
        echo "$what is found, but not for what it is:" >&2
        cat "$scratch/said" >&2
        exit 1
    fi
    echo "found: $what"
}

finds "a property that does not exist" BCP089 infra/check.sh \
    sed -i 's/allowBlobPublicAccess: false/allowBlobsPublicAccess: false/' infra/app/storage.bicep
finds "a snapshot that is not what the templates give" "everything-new" infra/check.sh \
    sed -i 's/"StorageV2"/"BlobStorage"/' infra/snapshots/everything-new.snapshot.json
finds "a query that does not parse" "alert-stalled.kql" infra/queries/check.sh \
    sed -i 's/| where /| which /' infra/queries/alert-stalled.kql
