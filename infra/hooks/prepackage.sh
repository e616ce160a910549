#!/usr/bin/env bash
# Makes the package and looks into it: the executable must have kept its mode.
set -euo pipefail
cd "$(dirname "$0")/../.."

zip=target/package/softlabel-flex.zip
cargo zip

mode=$(unzip -Z "$zip" softlabel | grep ' softlabel$' | cut -c1-10)
if [[ $mode != -rwxr-xr-x ]]; then
    echo "softlabel in $zip has the mode $mode, not -rwxr-xr-x: the host could not start it" >&2
    exit 1
fi
unzip -p "$zip" host.json >/dev/null

rm -rf target/package/flex
unzip -q "$zip" -d target/package/flex
echo "$zip is good"
