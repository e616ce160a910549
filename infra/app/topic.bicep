// The Event Grid topic of the storage account with the datasets, new or existing.

param name string
param newTopic bool
param sourceId string
param location string
param tags object
param workspaceId string

resource newOne 'Microsoft.EventGrid/systemTopics@2025-02-15' = if (newTopic) {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: sourceId
    topicType: 'Microsoft.Storage.StorageAccounts'
  }
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = if (!newTopic) {
  name: name
}

// DeadLetteredCount and DroppedEventCount, for the alert.
resource metrics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: topic
  name: 'softlabel-${uniqueString(workspaceId)}'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'DeliveryFailures'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
  dependsOn: [newOne]
}

output principalId string = newTopic ? newOne!.identity.principalId : topic!.identity.principalId
