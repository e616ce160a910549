// The storage account with the datasets, new or existing.

param name string
param newAccount bool
param containerName string
param newContainer bool
param blobPoisonQueueName string
param location string
param tags object
param workspaceId string

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

// Only what is there before the deployment is `existing`: with symbolic names Azure looks such a resource up
// at once.
resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = if (!newAccount) {
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

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' existing = if (!newAccount) {
  parent: account
  name: 'default'
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = if (newContainer) {
  parent: blobs
  name: containerName
  dependsOn: [newBlobs]
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-01-01' existing = if (!newAccount) {
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

output location string = newAccount ? location : account!.location
output blobEndpoint string = newAccount
  ? newOne!.properties.primaryEndpoints.blob
  : account!.properties.primaryEndpoints.blob
