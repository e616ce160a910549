// The storage account with the datasets, new or existing.

param name string
param newAccount bool
param containerName string
param newContainer bool
param location string
param tags object
param workspaceId string

// The blob trigger puts events that fail again and again into this queue, beside the blobs.
var blobPoisonQueueName = 'webjobs-blobtrigger-poison'

resource newOne 'Microsoft.Storage/storageAccounts@2025-01-01' = if (newAccount) {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: name
}

resource newBlobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = if (newAccount) {
  parent: newOne
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' existing = {
  parent: account
  name: 'default'
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = if (newContainer) {
  parent: blobs
  name: containerName
  dependsOn: [newBlobs]
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-01-01' existing = {
  parent: account
  name: 'default'
}

resource blobPoisonQueue 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-01-01' = {
  parent: queueService
  name: blobPoisonQueueName
  dependsOn: [newOne]
}

// For the alert about poison queues.
resource queueLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: queueService
  name: 'softlabel-${uniqueString(workspaceId)}'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'StorageWrite'
        enabled: true
      }
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
  }
  dependsOn: [newOne]
}

// Outputs are read when everything is there, so the new account is found under `account` too.
output accountId string = account.id
output accountName string = account.name
output location string = account.location
output endpoints object = account.properties.primaryEndpoints
output blobPoisonQueueName string = blobPoisonQueue.name
