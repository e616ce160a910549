#!/usr/bin/env bash
# Sees to it that the deployed app is woken: has the platform look at its triggers until it lists every
# function of the package, and has Event Grid tell the blob trigger of dataset-uploaded when a dataset's
# metadata.json lands. That webhook takes a key that the app makes when it first starts, so no template can
# know it.
#
# Safe to repeat: the subscription is put under one name, with the key as it is now. Without the webhook
# every bucket file is labelled all the same; only buckets that were there before the app are not found, and
# the counts in metadata.json are not compared. Without its triggers the app does nothing.
#
# The variables are outputs of infra/main.bicep; azd sets them, and AZURE_SUBSCRIPTION_ID.
set -euo pipefail

for name in AZURE_RESOURCE_GROUP APP_NAME APP_URL DATA_RESOURCE_GROUP DATA_CONTAINER SYSTEM_TOPIC; do
    [[ -n ${!name:-} ]] || { echo "$name is not set; it is an output of infra/main.bicep" >&2; exit 1; }
done
functions=("$(dirname "$0")"/../../functions/*/function.json)
functions=("${functions[@]%/function.json}")
functions=("${functions[@]##*/}")
function=dataset-uploaded
prefix="/blobServices/default/containers/$DATA_CONTAINER/blobs/${DATA_BASE_PATH:+$DATA_BASE_PATH/}"

# Files that nobody else reads: arguments are visible to every user of the machine.
umask 077
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "$*. Then run infra/hooks/postdeploy.sh again (azd hooks run postdeploy)" >&2
    exit 1
}

# az without a subscription takes its own default, which need not be azd's.
az() { command az "$@" ${AZURE_SUBSCRIPTION_ID:+--subscription "$AZURE_SUBSCRIPTION_ID"} --only-show-errors; }

# Errors that no waiting mends: what is not there, what is not allowed, nobody signed in.
hopeless='ResourceGroupNotFound|ResourceNotFound|SubscriptionNotFound|AuthorizationFailed|InvalidAuthenticationToken'
hopeless+='|az login|InvalidApiVersion|InvalidRequest|command not found|is not recognized'

# Asks Azure; what it answers is in $answer. An error that may pass gives 1, any other ends the script.
ask() {
    answer=
    answer=$(az "$@" 2>"$scratch/error") && return
    cat "$scratch/error" >&2
    ! grep -qE "$hopeless" "$scratch/error" || fail "az $1 $2 failed: mend what it says"
    return 1
}

# Repeats a command every 15 seconds for ten minutes, until it gives 0.
wait_for() {
    local round
    for round in $(seq 40); do
        [[ $round == 1 ]] || sleep 15
        ! "$@" || return 0
    done
    return 1
}

ask functionapp show --resource-group "$AZURE_RESOURCE_GROUP" --name "$APP_NAME" --query id --output tsv ||
    fail "the app $APP_NAME cannot be looked at"
app=$answer

# Flex Consumption may go on with the triggers of an earlier package, or with none, until it is told to look.
missing=
functions_are_listed() {
    ask rest --method post --url "$app/host/default/sync?api-version=2024-11-01" --output none || return 1
    ask functionapp function list --resource-group "$AZURE_RESOURCE_GROUP" --name "$APP_NAME" \
        --query '[].name' --output tsv || return 1
    local name
    missing=
    for name in "${functions[@]}"; do
        [[ $'\n'$answer$'\n' == *$'\n'"$APP_NAME/$name"$'\n'* ]] || missing+=" $name"
    done
    [[ -z $missing ]] || { echo "$APP_NAME does not list$missing yet"; return 1; }
}
wait_for functions_are_listed ||
    fail "$APP_NAME has not listed${missing:- its functions} in ten minutes, so nothing wakes them:" \
        "see whether it starts (the portal's Diagnose and solve problems)"

key_is_there() {
    ask functionapp keys list --resource-group "$AZURE_RESOURCE_GROUP" --name "$APP_NAME" \
        --query systemKeys.blobs_extension --output tsv || return 1
    key=$answer
    [[ -n $key ]] || { echo "$APP_NAME has not made its key yet"; return 1; }
}
wait_for key_is_there ||
    fail "$APP_NAME has made no key blobs_extension in ten minutes: see whether it starts"

ask eventgrid system-topic show --resource-group "$DATA_RESOURCE_GROUP" --name "$SYSTEM_TOPIC" \
    --query id --output tsv || fail "the topic $SYSTEM_TOPIC cannot be looked at"
subscription="$answer/eventSubscriptions/$APP_NAME-$function?api-version=2025-02-15"

cat >"$scratch/body" <<JSON
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

# Azure takes the subscription at once and then asks the webhook whether it wants it. An app that is still
# starting does not answer, and the subscription has failed: it is put again.
state=
put=again
subscription_stands() {
    if [[ $put == again ]]; then
        ask rest --method put --output none --body "@$scratch/body" --url "$subscription" || return 1
        put=once
    fi
    ask rest --method get --url "$subscription" --query properties.provisioningState --output tsv || return 1
    state=$answer
    case $state in
        Succeeded) return 0 ;;
        Failed | Canceled | AwaitingManualAction) put=again ;;
    esac
    echo "the subscription to metadata.json files is ${state:-not there yet}"
    return 1
}
wait_for subscription_stands ||
    fail "Event Grid has not taken the webhook of $APP_NAME in ten minutes (it says ${state:-nothing}):" \
        "see whether the app answers, and whether it may be reached from outside"

echo "$APP_NAME lists all of its functions, and $function is told of metadata.json files under $prefix"
