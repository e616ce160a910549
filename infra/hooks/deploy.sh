#!/usr/bin/env bash
# Deploys without azd: infra/hooks/deploy.sh ENVIRONMENT LOCATION alertEmail=… [PARAMETER=VALUE…]
#
# First the resources, then target/package/softlabel-flex.zip (`cargo xtask zip` makes it), then what
# postdeploy.sh sees to. Safe to repeat. Needs az, signed in to the subscription, Bicep 0.34.1 or newer
# (`az bicep upgrade`), and Python 3.
set -euo pipefail
cd "$(dirname "$0")/../.."

environment=${1:?the name of the environment is missing} location=${2:?the region is missing}
shift 2

# One subscription for all that follows, whatever becomes of az's default meanwhile.
[[ -n ${AZURE_SUBSCRIPTION_ID:-} ]] || AZURE_SUBSCRIPTION_ID=$(az account show --query id --output tsv)
export AZURE_SUBSCRIPTION_ID
az() { command az "$@" --subscription "$AZURE_SUBSCRIPTION_ID"; }

for parameter in "$@"; do
    [[ $parameter != dataAccountName=* ]] || export DATA_ACCOUNT_NAME=${parameter#*=}
done
infra/hooks/preprovision.sh

outputs=$(az deployment sub create --name "softlabel-$environment" --location "$location" \
    --template-file infra/main.bicep \
    --parameters environmentName="$environment" location="$location" "$@" \
    --query properties.outputs --output json)
# Azure changes the case of names (azurE_LOCATION).
lines=$(python3 -c '
import json, sys
for name, output in json.load(sys.stdin).items():
    print(name.upper() + "=" + output["value"])
' <<<"$outputs")
while IFS='=' read -r name value; do
    export "$name=$value"
done <<<"$lines"

# az uploads the package, and then asks the app how it is: on a first start, whose rights have not spread
# yet, it may call a good deployment a failure, or ask for ever. The triggers are looked at in any case.
failed=0
timeout 900 az functionapp deployment source config-zip --subscription "$AZURE_SUBSCRIPTION_ID" \
    --resource-group "$AZURE_RESOURCE_GROUP" --name "$APP_NAME" \
    --src target/package/softlabel-flex.zip --output none || failed=$?
infra/hooks/postdeploy.sh || failed=1

if [[ $failed != 0 ]]; then
    echo "$APP_NAME is not known to run with this package: see above, and deploy again" >&2
    exit 1
fi
echo "$APP_NAME is deployed; datasets go to $DATA_URL"
