#!/usr/bin/env bash
# Holds the templates against Bicep's compiler: lint, format, build, and the snapshots beside the parameter
# files in infra/snapshots/, which show what each deployment would make.
#
#   infra/check.sh            fails at any warning, and where a snapshot is not what the templates give
#   infra/check.sh --renew    (cargo xtask renew templates) formats the templates and writes the snapshots, for the diff to be read
#
# The compiler is $BICEP, else `bicep` on the path. https://learn.microsoft.com/azure/azure-resource-manager/bicep/install
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:-}
[[ -z $mode || $mode == --renew ]] || { echo "usage: infra/check.sh [--renew]" >&2; exit 2; }

bicep=${BICEP:-bicep}
if ! command -v "$bicep" >/dev/null; then
    echo "not checked: the templates, for want of Bicep's compiler (\$BICEP, or bicep on the path)" >&2
    [[ ${CI:-} != true ]]
    exit
fi
# Without it the compiler wants libicu, and a message could depend on the machine's language.
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
fail() { echo "$*" >&2; failed=1; }

# Runs the compiler. What it warns of fails: it knows too little about a resource to call a property that
# does not exist an error.
compile() {
    local code=0
    "$bicep" "$@" 2>"$scratch/said" || code=$?
    if [[ $code != 0 ]] || grep -qE ' : (Warning|Error) ' "$scratch/said"; then
        cat "$scratch/said" >&2
        fail "bicep $1 ${2:-} found something"
    fi
}

# Every file that the templates are made of, one a line, in one order everywhere.
sources() {
    local file path
    {
        printf '%s\n' infra/bicepconfig.json infra/main.bicep infra/app/*.bicep infra/snapshots/*.bicepparam
        for file in infra/main.bicep infra/app/*.bicep; do
            sed -nE "s/.*load[A-Za-z]+Content\('([^']+)'.*/\1/p" "$file" | while read -r path; do
                realpath --relative-to=. "$(dirname "$file")/$path"
            done
        done
    } | LC_ALL=C sort -u
}

# A project of its own, so that the formatter finds all files and changes none of ours.
mkdir "$scratch/infra"
cp -r infra/bicepconfig.json infra/main.bicep infra/app infra/snapshots "$scratch/infra"
compile format --pattern "$scratch/infra/**/*.bicep"
compile format --pattern "$scratch/infra/**/*.bicepparam"
for file in infra/main.bicep infra/app/*.bicep infra/snapshots/*.bicepparam; do
    if [[ $mode == --renew ]]; then
        cmp -s "$scratch/$file" "$file" || cp "$scratch/$file" "$file"
    else
        diff -u "$file" "$scratch/$file" || fail "$file is not formatted: cargo xtask renew templates"
    fi
done

# The linter runs too.
compile build infra/main.bicep --outfile "$scratch/template.json"
[[ $failed == 0 ]] || exit 1

# A snapshot needs some tenant and subscription to make ids of.
for file in infra/snapshots/*.bicepparam; do
    how=validate
    [[ $mode != --renew ]] || how=overwrite
    compile snapshot "$file" --mode "$how" --deployment-name softlabel --location swedencentral \
        --tenant-id 00000000-0000-0000-0000-000000000002 --subscription-id 00000000-0000-0000-0000-000000000001
done

# The compiler writes outputs in another order each time, which would make diffs of nothing.
if [[ $mode == --renew ]]; then
    python3 -c '
import json, sys
for path in sys.argv[1:]:
    with open(path) as file:
        snapshot = json.load(file)
    snapshot["outputs"] = dict(sorted(snapshot["outputs"].items()))
    with open(path, "w") as file:
        json.dump(snapshot, file, indent=2, ensure_ascii=False)
        file.write("\n")
' infra/snapshots/*.snapshot.json
fi

# What snapshots do not show, the parameters of main.bicep and which of its modules waits for which, and what
# all of this was made from: so the tests need no compiler, and know when they would look at something old.
python3 -c '
import json, sys
template = json.load(open(sys.argv[1]))
order = {name: part.get("dependsOn", []) for name, part in template["resources"].items()}
print(json.dumps({"parameters": template["parameters"], "order": order}, indent=2))
' "$scratch/template.json" >"$scratch/main.json"
sources | xargs sha256sum >"$scratch/sources.sha256"
for file in main.json sources.sha256; do
    if [[ $mode == --renew ]]; then
        [[ $failed != 0 ]] || cp "$scratch/$file" "infra/snapshots/$file"
    else
        diff -u "infra/snapshots/$file" "$scratch/$file" || fail "infra/snapshots/$file is stale: cargo xtask renew templates"
    fi
done
exit "$failed"
