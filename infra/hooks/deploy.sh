#!/usr/bin/env bash
# Deploys without azd: infra/hooks/deploy.sh ENVIRONMENT LOCATION [PARAMETER=VALUE…]
#
# First the resources, then target/package/softlabel-flex.zip (`cargo zip` makes it), then the webhook of
# the blob trigger. Safe to repeat. Needs az, signed in to the subscription,
# and Python 3.
set -euo pipefail
cd "$(dirname "$0")/../.."

environment=${1:?the name of the environment is missing} location=${2:?the region is missing}
shift 2

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

az functionapp deployment source config-zip --resource-group "$AZURE_RESOURCE_GROUP" --name "$APP_NAME" \
    --src target/package/softlabel-flex.zip --output none
echo "$APP_NAME is deployed; datasets go to $DATA_URL"

infra/hooks/postdeploy.sh || echo "without the webhook: bucket files are labelled as they land" >&2
