#!/usr/bin/env bash
# Makes the packages; `cargo xtask zip` fails if the one for Azure is not as it must be, the executable's mode
# included. azd deploys the zip itself and wants to see its content as a folder too.
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo --locked xtask zip
rm -rf target/package/flex
unzip -q target/package/softlabel-flex.zip -d target/package/flex
