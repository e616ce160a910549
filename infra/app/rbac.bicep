// Every role assignment. It is deployed once to each resource group with resources that some identity must
// reach. What is in another group, or is not there, is called 'none': an empty name would spoil the
// ids that Azure computes even for what it does not deploy.

@description('The function app\'s identity.')
param appPrincipalId string

@description('The identity of the Event Grid topic.')
param topicPrincipalId string = 'none'

param appAccountName string = 'none'
param eventQueueName string = 'none'
param deadLetterContainerName string = 'none'
param insightsName string = 'none'
param vaultName string = 'none'
param secretName string = 'none'
param dataAccountName string = 'none'
param dataContainerName string = 'none'
param blobPoisonQueueName string = 'none'
param openAiAccountName string = 'none'

@description('Path in the data container that the app may write to, without the closing wildcard.')
param labeledPrefix string = 'none'

@description('Who may upload datasets.')
param uploaderPrincipalId string = 'none'

var roles = loadJsonContent('../roles.json')

// The app's own storage. Owner is what the host asks for: it leases blobs and keeps its keys there.

resource appAccount 'Microsoft.Storage/storageAccounts@2025-01-01' existing = if (appAccountName != 'none') {
  name: appAccountName
}

resource appAccountRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in [
    'Storage Blob Data Owner'
    'Storage Queue Data Contributor'
    'Storage Table Data Contributor'
  ]: if (appAccountName != 'none') {
    scope: appAccount
    name: guid(appAccount.id, appPrincipalId, roles[role])
    properties: {
      principalId: appPrincipalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[role])
    }
  }
]

// Event Grid: one queue to send to, one container for what could not be sent.

resource appQueues 'Microsoft.Storage/storageAccounts/queueServices@2025-01-01' existing = if (appAccountName != 'none') {
  parent: appAccount
  name: 'default'
}

resource eventQueue 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-01-01' existing = if (eventQueueName != 'none') {
  parent: appQueues
  name: eventQueueName
}

resource topicSends 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (eventQueueName != 'none') {
  scope: eventQueue
  name: guid(eventQueue.id, topicPrincipalId, roles['Storage Queue Data Message Sender'])
  properties: {
    principalId: topicPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles['Storage Queue Data Message Sender']
    )
  }
}

resource appBlobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' existing = if (appAccountName != 'none') {
  parent: appAccount
  name: 'default'
}

resource deadLetters 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' existing = if (deadLetterContainerName != 'none') {
  parent: appBlobs
  name: deadLetterContainerName
}

resource topicDeadLetters 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (deadLetterContainerName != 'none') {
  scope: deadLetters
  name: guid(deadLetters.id, topicPrincipalId, roles['Storage Blob Data Contributor'])
  properties: {
    principalId: topicPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles['Storage Blob Data Contributor']
    )
  }
}

// Telemetry.

resource insights 'Microsoft.Insights/components@2020-02-02' existing = if (insightsName != 'none') {
  name: insightsName
}

resource appPublishesTelemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (insightsName != 'none') {
  scope: insights
  name: guid(insights.id, appPrincipalId, roles['Monitoring Metrics Publisher'])
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles['Monitoring Metrics Publisher']
    )
  }
}

// The one secret, not the vault.

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = if (vaultName != 'none') {
  name: vaultName
}

resource secret 'Microsoft.KeyVault/vaults/secrets@2024-11-01' existing = if (vaultName != 'none') {
  parent: vault
  name: secretName
}

resource appReadsSecret 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (vaultName != 'none') {
  scope: secret
  name: guid(secret.id, appPrincipalId, roles['Key Vault Secrets User'])
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Key Vault Secrets User'])
  }
}

// Datasets: read everything in the container, write LABELED_* alone. The pattern begins with the base
// path, or RAW/LABELED_x would match too.

var blobActions = 'Microsoft.Storage/storageAccounts/blobServices/containers/blobs'
var writesLabeledOnly = '((!(ActionMatches{\'${blobActions}/write\'}) AND !(ActionMatches{\'${blobActions}/add/action\'}) AND !(ActionMatches{\'${blobActions}/delete\'}) AND !(ActionMatches{\'${blobActions}/move/action\'})) OR (@Resource[${blobActions}:path] StringLike \'${labeledPrefix}*\'))'

resource dataAccount 'Microsoft.Storage/storageAccounts@2025-01-01' existing = if (dataAccountName != 'none') {
  name: dataAccountName
}

resource dataBlobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' existing = if (dataAccountName != 'none') {
  parent: dataAccount
  name: 'default'
}

resource dataContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' existing = if (dataContainerName != 'none') {
  parent: dataBlobs
  name: dataContainerName
}

resource appLabels 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (dataAccountName != 'none') {
  scope: dataContainer
  name: guid(dataContainer.id, appPrincipalId, roles['Storage Blob Data Contributor'])
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles['Storage Blob Data Contributor']
    )
    condition: writesLabeledOnly
    conditionVersion: '2.0'
  }
}

resource uploads 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (uploaderPrincipalId != 'none') {
  scope: dataContainer
  name: guid(dataContainer.id, uploaderPrincipalId, roles['Storage Blob Data Contributor'])
  properties: {
    principalId: uploaderPrincipalId
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles['Storage Blob Data Contributor']
    )
  }
}

// The host parks blob events there that failed five times.

resource dataQueues 'Microsoft.Storage/storageAccounts/queueServices@2025-01-01' existing = if (dataAccountName != 'none') {
  parent: dataAccount
  name: 'default'
}

resource blobPoisonQueue 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-01-01' existing = if (blobPoisonQueueName != 'none') {
  parent: dataQueues
  name: blobPoisonQueueName
}

resource appParksBlobEvents 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (dataAccountName != 'none') {
  scope: blobPoisonQueue
  name: guid(blobPoisonQueue.id, appPrincipalId, roles['Storage Queue Data Contributor'])
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles['Storage Queue Data Contributor']
    )
  }
}

// The model.

resource openAiAccount 'Microsoft.CognitiveServices/accounts@2025-06-01' existing = if (openAiAccountName != 'none') {
  name: openAiAccountName
}

resource appAsksModel 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (openAiAccountName != 'none') {
  scope: openAiAccount
  name: guid(openAiAccount.id, appPrincipalId, roles['Cognitive Services OpenAI User'])
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles['Cognitive Services OpenAI User']
    )
  }
}
