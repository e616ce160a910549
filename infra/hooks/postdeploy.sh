#!/usr/bin/env bash
# Has Event Grid tell the blob trigger of dataset-uploaded when a dataset's metadata.json lands. Its
# webhook takes a key that the app makes when it first starts, so no template can know it.
#
# Safe to repeat: the subscription is put under one name, with the key as it is now. Without it every
# bucket file is labelled all the same; only buckets that were there before the app are not found, and
# the counts in metadata.json are not compared.
#
# The variables are outputs of infra/main.bicep; azd sets them.
set -euo pipefail

for name in AZURE_RESOURCE_GROUP APP_NAME APP_URL DATA_RESOURCE_GROUP DATA_CONTAINER SYSTEM_TOPIC; do
    [[ -n ${!name:-} ]] || { echo "$name is not set; it is an output of infra/main.bicep" >&2; exit 1; }
done
function=dataset-uploaded
prefix="/blobServices/default/containers/$DATA_CONTAINER/blobs/${DATA_BASE_PATH:+$DATA_BASE_PATH/}"

key=
for _ in $(seq 20); do
    key=$(az functionapp keys list --resource-group "$AZURE_RESOURCE_GROUP" --name "$APP_NAME" \
        --query systemKeys.blobs_extension --output tsv || true)
    [[ -z $key ]] || break
    echo "$APP_NAME has not made its key yet"
    sleep 15
done
if [[ -z $key ]]; then
    echo "$APP_NAME has made no key blobs_extension in five minutes: see whether it starts, then run" \
        "infra/hooks/postdeploy.sh again" >&2
    exit 1
fi

topic=$(az eventgrid system-topic show --resource-group "$DATA_RESOURCE_GROUP" --name "$SYSTEM_TOPIC" \
    --query id --output tsv)

# In a file that nobody else reads: arguments are visible to every user of the machine.
umask 077
body=$(mktemp)
trap 'rm -f "$body"' EXIT
cat >"$body" <<JSON
{
  "properties": {
    "eventDeliverySchema": "EventGridSchema",
    "destination": {
      "endpointType": "WebHook",
      "properties": {
        "endpointUrl": "$APP_URL/runtime/webhooks/blobs?functionName=Host.Functions.$function&code=$key"
      }
    },
    "filter": {
      "includedEventTypes": ["Microsoft.Storage.BlobCreated"],
      "isSubjectCaseSensitive": true,
      "subjectBeginsWith": "$prefix",
      "subjectEndsWith": "/metadata.json",
      "advancedFilters": [
        { "operatorType": "StringNotContains", "key": "subject", "values": ["/LABELED_"] }
      ]
    }
  }
}
JSON
az rest --method put --output none --body "@$body" \
    --url "$topic/eventSubscriptions/$APP_NAME-$function?api-version=2025-02-15"
echo "$function is told of metadata.json files under $prefix"
