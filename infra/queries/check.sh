#!/usr/bin/env bash
# Parses every query here, or the files that are named, with Microsoft's own parser; a query pack takes what it is given, unread. npm
# installs the parser, as the lock file pins it, into the target folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v npm >/dev/null; then
    echo "not checked: the queries, for want of npm, which installs their parser" >&2
    [[ ${CI:-} != true ]]
    exit
fi

parser="${CARGO_TARGET_DIR:-target}/kusto"
mkdir -p "$parser"
if ! cmp -s infra/queries/parser/package-lock.json "$parser/node_modules/package-lock.json"; then
    cp infra/queries/parser/{.npmrc,package.json,package-lock.json} "$parser"
    npm ci --prefix "$parser" --silent --no-audit --no-fund
    cp infra/queries/parser/package-lock.json "$parser/node_modules"
fi
cp infra/queries/parser/parse.cjs "$parser"
[[ $# != 0 ]] || set -- infra/queries/*.kql
node "$parser/parse.cjs" "$@"
