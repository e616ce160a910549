#!/usr/bin/env bash
# Refuses a storage account that cannot have what softlabel puts into it, before anything is made. The
# account is the parameter dataAccountName; azd knows it as DATA_ACCOUNT_NAME. A new one needs no look.
set -euo pipefail

[[ -n ${DATA_ACCOUNT_NAME:-} ]] || exit 0
az() { command az "$@" ${AZURE_SUBSCRIPTION_ID:+--subscription "$AZURE_SUBSCRIPTION_ID"}; }

answer=$(az storage account show --name "$DATA_ACCOUNT_NAME" --query '[kind, primaryEndpoints.queue]' --output tsv)
{ read -r kind; read -r queues || true; } <<<"$answer"
if [[ $kind != StorageV2 || $queues != https://* ]]; then
    echo "the storage account $DATA_ACCOUNT_NAME ($kind) does not have both events and queues, which softlabel" \
        "needs: give one of the kind StorageV2 with standard performance as dataAccountName" >&2
    exit 1
fi
