// Everything that softlabel needs, from an empty subscription. See README.md.
targetScope = 'subscription'

@description('Name of the environment: part of the names of all resources.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of everything that is made here.')
@minLength(1)
param location string

@description('Resource group of the app, made if it is not there. By default rg-ENVIRONMENT.')
param resourceGroupName string = ''

@description('Existing storage account with the datasets. By default a new one.')
param dataAccountName string = ''

@description('Resource group of the existing storage account, in this subscription. By default that of the app.')
param dataResourceGroupName string = ''

@description('Container of the datasets.')
@minLength(3)
@maxLength(63)
param dataContainerName string = 'softlabel-data'

@description('Make the container. By default only in a new account.')
param newDataContainer bool = empty(dataAccountName)

@description('Folder in the container under which the datasets lie, such as experiments/v4. By default the container itself.')
param dataBasePath string = ''

@description('Existing Event Grid system topic of the storage account, which can have one alone. It needs a system-assigned identity. By default a new one.')
param dataSystemTopicName string = ''

@description('Existing Azure OpenAI account. By default a new one.')
param openAiAccountName string = ''

@description('Resource group of the existing Azure OpenAI account, in this subscription. By default that of the app.')
param openAiResourceGroupName string = ''

@description('Make the model deployment. By default only in a new account.')
param newModelDeployment bool = empty(openAiAccountName)

@description('Name of the model deployment. By default that of the model.')
param modelDeploymentName string = ''

@description('Model of a new deployment. It must give log probabilities.')
param modelName string = 'gpt-5.2'

@description('Version of the model of a new deployment.')
param modelVersion string = '2025-12-11'

@description('Kind of a new deployment.')
@allowed(['GlobalStandard', 'DataZoneStandard', 'Standard'])
param modelSku string = 'GlobalStandard'

@description('Capacity of a new deployment, in thousands of tokens a minute. It sets the quota that the app keeps to; an existing deployment says its own.')
@minValue(1)
param modelCapacity int = 500

@description('Requests a minute for each thousand tokens a minute. 0: as models.json says for the model.')
@minValue(0)
param requestsPerThousandTokens int = 0

@description('Show the model an API key from a Key Vault, instead of tokens of the app\'s identity.')
param useKeyVault bool = false

@description('Name of the secret that is the key.')
param openAiSecretName string = 'azure-openai-api-key'

@description('The key, to be put into the vault. Without one the secret is left as it is.')
@secure()
param openAiKey string = ''

@description('Instances at most. Few are enough: one can use the whole quota of a model deployment.')
@minValue(1)
@maxValue(1000)
param maximumInstances int = 5

@description('Memory of an instance, in MB.')
@allowed([512, 2048, 4096])
param instanceMemory int = 2048

@description('Calls in flight at most, in each instance.')
@minValue(1)
param concurrency int = 50

@description('US dollars that a dataset may cost. One that would cost more waits for approval.')
@minValue(1)
param maximumCost int = 100

@description('Days that the work data of an ended run is kept.')
@minValue(1)
@maxValue(365)
param retentionDays int = 30

@description('Further settings of softlabel by their variables, such as SOFTLABEL_STRATEGY, or the prices of a model that it does not know: without prices every dataset waits for approval.')
param moreSettings object = {}

@description('Where alerts are sent. Without an address they are only shown in the portal.')
param alertEmail string = ''

@description('Object id of a user, group or application that may upload datasets to a new container.')
param uploaderPrincipalId string = ''

var abbreviations = loadJsonContent('abbreviations.json')
var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }

// Without empty parts: '/a//b/' and 'a/b' are the same place.
var basePath = join(filter(split(dataBasePath, '/'), part => !empty(part)), '/')
var labeledPrefix = empty(basePath) ? 'LABELED_' : '${basePath}/LABELED_'
var dataPath = empty(basePath) ? dataContainerName : '${dataContainerName}/${basePath}'
var workContainerName = 'softlabel-work'
var deadLetterContainerName = 'dead-letters'

// Queues are called like the functions that they wake: function.json has the names.
var eventQueueName = loadJsonContent('../functions/bucket-uploaded/function.json').bindings[0].queueName
var planQueueName = loadJsonContent('../functions/plan-bucket/function.json').bindings[0].queueName
var chunkQueueName = loadJsonContent('../functions/label-chunk/function.json').bindings[0].queueName
var publishQueueName = loadJsonContent('../functions/publish-bucket/function.json').bindings[0].queueName
var queueNames = [eventQueueName, planQueueName, chunkQueueName, publishQueueName]

var groupName = empty(resourceGroupName)
  ? '${abbreviations.resourcesResourceGroups}${environmentName}'
  : resourceGroupName
var dataGroupName = empty(dataAccountName) || empty(dataResourceGroupName) ? groupName : dataResourceGroupName
var openAiGroupName = empty(openAiAccountName) || empty(openAiResourceGroupName) ? groupName : openAiResourceGroupName

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: groupName
  location: location
  tags: tags
}

module identity 'app/identity.bicep' = {
  scope: group
  params: {
    name: '${abbreviations.managedIdentityUserAssignedIdentities}${token}'
    location: location
    tags: tags
  }
}

module monitoring 'app/monitoring.bicep' = {
  scope: group
  params: {
    workspaceName: '${abbreviations.operationalInsightsWorkspaces}${token}'
    insightsName: '${abbreviations.insightsComponents}${token}'
    location: location
    tags: tags
  }
}

module storage 'app/storage.bicep' = {
  scope: group
  params: {
    name: '${abbreviations.storageStorageAccounts}${token}'
    location: location
    tags: tags
    queueNames: queueNames
    workContainerName: workContainerName
    deadLetterContainerName: deadLetterContainerName
    retentionDays: retentionDays
    workspaceId: monitoring.outputs.workspaceId
  }
}

module data 'app/data.bicep' = {
  scope: resourceGroup(dataGroupName)
  params: {
    name: empty(dataAccountName) ? '${abbreviations.storageStorageAccounts}data${token}' : dataAccountName
    newAccount: empty(dataAccountName)
    containerName: dataContainerName
    newContainer: newDataContainer
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
  dependsOn: [group]
}

module model 'app/model.bicep' = {
  scope: resourceGroup(openAiGroupName)
  params: {
    accountName: empty(openAiAccountName) ? '${abbreviations.cognitiveServicesAccounts}${token}' : openAiAccountName
    newAccount: empty(openAiAccountName)
    takesKeys: useKeyVault
    deploymentName: empty(modelDeploymentName) ? modelName : modelDeploymentName
    newDeployment: newModelDeployment
    modelName: modelName
    modelVersion: modelVersion
    skuName: modelSku
    capacity: modelCapacity
    requestsPerThousandTokens: requestsPerThousandTokens
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
  dependsOn: [group]
}

module vault 'app/vault.bicep' = if (useKeyVault) {
  scope: group
  params: {
    name: '${abbreviations.keyVaultVaults}${token}'
    location: location
    tags: tags
    secretName: openAiSecretName
    secretValue: openAiKey
    workspaceId: monitoring.outputs.workspaceId
  }
}

module topic 'app/topic.bicep' = {
  scope: resourceGroup(dataGroupName)
  params: {
    name: empty(dataSystemTopicName) ? '${abbreviations.eventGridSystemTopics}${token}' : dataSystemTopicName
    newTopic: empty(dataSystemTopicName)
    sourceId: data.outputs.accountId
    location: data.outputs.location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
}

// One file has every role assignment; it is deployed once to each resource group that has resources.
module appRoles 'app/rbac.bicep' = {
  scope: group
  params: {
    appPrincipalId: identity.outputs.principalId
    topicPrincipalId: topic.outputs.principalId
    appAccountName: storage.outputs.accountName
    eventQueueName: eventQueueName
    deadLetterContainerName: deadLetterContainerName
    insightsName: monitoring.outputs.insightsName
    vaultName: useKeyVault ? vault!.outputs.name : 'none'
    secretName: openAiSecretName
  }
}

module dataRoles 'app/rbac.bicep' = {
  scope: resourceGroup(dataGroupName)
  params: {
    appPrincipalId: identity.outputs.principalId
    dataAccountName: data.outputs.accountName
    dataContainerName: dataContainerName
    labeledPrefix: labeledPrefix
    blobPoisonQueueName: data.outputs.blobPoisonQueueName
    uploaderPrincipalId: newDataContainer && !empty(uploaderPrincipalId) ? uploaderPrincipalId : 'none'
  }
}

module modelRoles 'app/rbac.bicep' = {
  scope: resourceGroup(openAiGroupName)
  params: {
    appPrincipalId: identity.outputs.principalId
    openAiAccountName: useKeyVault ? 'none' : model.outputs.accountName
  }
}

module subscriptions 'app/subscriptions.bicep' = {
  scope: resourceGroup(dataGroupName)
  params: {
    topicName: topic.outputs.name
    name: 'softlabel-${token}'
    containerName: dataContainerName
    basePath: basePath
    appAccountId: storage.outputs.accountId
    queueName: eventQueueName
    deadLetterContainerName: deadLetterContainerName
  }
  // The topic's identity must be allowed to send before there is something to send.
  dependsOn: [appRoles]
}

module app 'app/function.bicep' = {
  scope: group
  params: {
    name: '${abbreviations.webSitesFunctions}${token}'
    planName: '${abbreviations.webServerFarms}${token}'
    location: location
    tags: union(tags, { 'azd-service-name': 'app' })
    identityId: identity.outputs.id
    clientId: identity.outputs.clientId
    appEndpoints: storage.outputs.endpoints
    dataEndpoints: data.outputs.endpoints
    packageContainerName: storage.outputs.packageContainerName
    insightsName: monitoring.outputs.insightsName
    maximumInstances: maximumInstances
    instanceMemory: instanceMemory
    settings: union(
      {
        SOFTLABEL_DATA: dataPath
        SOFTLABEL_WORK_CONTAINER: workContainerName
        AZURE_OPENAI_ENDPOINT: model.outputs.endpoint
        AZURE_OPENAI_DEPLOYMENT: model.outputs.deploymentName
        SOFTLABEL_MODEL: model.outputs.modelName
        SOFTLABEL_TPM: string(model.outputs.tokensPerMinute)
        SOFTLABEL_RPM: string(model.outputs.requestsPerMinute)
        SOFTLABEL_AUTH: useKeyVault ? 'key' : 'entra'
        SOFTLABEL_CONCURRENCY: string(concurrency)
        SOFTLABEL_MAX_COST: string(maximumCost)
        SOFTLABEL_RETENTION_DAYS: string(retentionDays)
        SOFTLABEL_LOG: 'info'
      },
      useKeyVault
        ? {
            SOFTLABEL_KEYVAULT_URL: vault!.outputs.url
            SOFTLABEL_KEYVAULT_SECRET: openAiSecretName
          }
        : {},
      moreSettings
    )
  }
  // With its rights in place the app's first start finds everything that it looks for.
  dependsOn: [appRoles, dataRoles, modelRoles]
}

module alerts 'app/alerts.bicep' = {
  scope: group
  params: {
    workspaceId: monitoring.outputs.workspaceId
    actionGroupName: '${abbreviations.insightsActionGroups}${token}'
    queryPackName: '${abbreviations.operationalInsightsQueryPacks}${token}'
    email: alertEmail
    location: location
    tags: tags
  }
}

// For azd and the hooks. None begins with SOFTLABEL_: the program refuses such variables that it does
// not know, and azd exports these.
output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = groupName
output APP_NAME string = app.outputs.name
output APP_URL string = app.outputs.url
output DATA_URL string = '${data.outputs.endpoints.blob}${dataPath}'
output DATA_RESOURCE_GROUP string = dataGroupName
output DATA_CONTAINER string = dataContainerName
output DATA_BASE_PATH string = basePath
output SYSTEM_TOPIC string = topic.outputs.name
