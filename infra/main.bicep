// Everything that softlabel needs, from an empty subscription. See README.md.
targetScope = 'subscription'

@description('Name of the environment: part of the names of all resources.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of everything that is made here.')
@minLength(1)
param location string

@description('Existing resource group for the app. By default a new one, rg-ENVIRONMENT.')
param resourceGroupName string = ''

@description('Existing storage account with the datasets, of the kind StorageV2. By default a new one.')
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
param modelCapacity int = 50

@description('Requests a minute for each thousand tokens a minute. 0: as models.json says for the model.')
@minValue(0)
param requestsPerThousandTokens int = 0

@description('Name of the task to ask, a blob tasks/NAME.toml in the work container. Empty: the built-in one.')
param taskName string = ''

@description('Show the model an API key from a Key Vault, instead of tokens of the app\'s identity.')
param useKeyVault bool = false

@description('Name of the secret that is the key.')
param openAiSecretName string = 'azure-openai-api-key'

@description('The key, to be put into the vault. Without one the secret is left as it is.')
@secure()
param openAiKey string = ''

@description('Instances at most, for each group of functions or for all of them together: Azure says both. 40 is the least that every region takes.')
@minValue(1)
@maxValue(1000)
param maximumInstances int = 40

@description('Instances that are always ready for HTTP, for planning and for labelling each, which spares their cold starts. They are charged for all the time.')
@minValue(0)
@maxValue(1000)
param alwaysReadyInstances int = 0

@description('Memory of an instance, in MB.')
@allowed([512, 2048, 4096])
param instanceMemory int = 2048

@description('Calls in flight at most, in each instance.')
@minValue(1)
param concurrency int = 50

@description('US dollars that a dataset may cost. One that would cost more waits for approval.')
@minValue(1)
param maximumCost int = 100

@description('US dollars that all datasets together may cost in a calendar month, UTC. At that runs wait for the next month. 0: no such cap.')
@minValue(0)
param maximumCostPerMonth int = 0

@description('Days that the work data of an ended run is kept.')
@minValue(1)
@maxValue(365)
param retentionDays int = 30

@description('Put messages of users into the reports, which lie beside the labels. Without it they hold none.')
param reportTexts bool = false

@description('Further settings of softlabel by their variables, such as SOFTLABEL_STRATEGY, or the prices of a model that it does not know: without prices every dataset waits for approval.')
param moreSettings object = {}

@description('Address that alerts are sent to. An empty one leaves them in the portal, where nobody is told.')
param alertEmail string

@description('Object id of a user, group or application that may upload datasets to a new container.')
param uploaderPrincipalId string = ''

var abbreviations = loadJsonContent('abbreviations.json')
var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }

// Every name is made here and handed down, not read from what a module has deployed: so a what-if and a
// snapshot know all of them before anything is there.
var newDataAccount = empty(dataAccountName)
var newOpenAiAccount = empty(openAiAccountName)
var newTopic = empty(dataSystemTopicName)
var names = {
  identity: '${abbreviations.managedIdentityUserAssignedIdentities}${token}'
  workspace: '${abbreviations.operationalInsightsWorkspaces}${token}'
  insights: '${abbreviations.insightsComponents}${token}'
  appAccount: '${abbreviations.storageStorageAccounts}${token}'
  dataAccount: newDataAccount ? '${abbreviations.storageStorageAccounts}data${token}' : dataAccountName
  openAiAccount: newOpenAiAccount ? '${abbreviations.cognitiveServicesAccounts}${token}' : openAiAccountName
  vault: '${abbreviations.keyVaultVaults}${token}'
  topic: newTopic ? '${abbreviations.eventGridSystemTopics}${token}' : dataSystemTopicName
  plan: '${abbreviations.webServerFarms}${token}'
  app: '${abbreviations.webSitesFunctions}${token}'
  actionGroup: '${abbreviations.insightsActionGroups}${token}'
  queryPack: '${abbreviations.operationalInsightsQueryPacks}${token}'
}
var deploymentName = empty(modelDeploymentName) ? modelName : modelDeploymentName
var packageContainerName = 'app-package'
var workContainerName = 'softlabel-work'
var deadLetterContainerName = 'dead-letters'
// The host puts events into it that fail again and again, beside the blobs that they are about.
var blobPoisonQueueName = 'webjobs-blobtrigger-poison'

// Without empty parts: '/a//b/' and 'a/b' are the same place.
var basePath = join(filter(split(dataBasePath, '/'), part => !empty(part)), '/')
var labeledPrefix = empty(basePath) ? 'LABELED_' : '${basePath}/LABELED_'
var dataPath = empty(basePath) ? dataContainerName : '${dataContainerName}/${basePath}'

// Queues are called like the functions that they wake: function.json has the names.
var eventQueueName = loadJsonContent('../functions/bucket-uploaded/function.json').bindings[0].queueName
var planQueueName = loadJsonContent('../functions/plan-bucket/function.json').bindings[0].queueName
var chunkQueueName = loadJsonContent('../functions/label-chunk/function.json').bindings[0].queueName
var publishQueueName = loadJsonContent('../functions/publish-bucket/function.json').bindings[0].queueName
var queueNames = [eventQueueName, planQueueName, chunkQueueName, publishQueueName]

var newGroup = empty(resourceGroupName)
var groupName = newGroup ? '${abbreviations.resourcesResourceGroups}${environmentName}' : resourceGroupName
var dataGroupName = newDataAccount || empty(dataResourceGroupName) ? groupName : dataResourceGroupName
var openAiGroupName = newOpenAiAccount || empty(openAiResourceGroupName) ? groupName : openAiResourceGroupName

var workspaceId = resourceId(
  subscription().subscriptionId,
  groupName,
  'Microsoft.OperationalInsights/workspaces',
  names.workspace
)
var appAccountId = resourceId(
  subscription().subscriptionId,
  groupName,
  'Microsoft.Storage/storageAccounts',
  names.appAccount
)
var dataAccountId = resourceId(
  subscription().subscriptionId,
  dataGroupName,
  'Microsoft.Storage/storageAccounts',
  names.dataAccount
)

// One that exists is left as it is: its region, its tags, and whose it is.
resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = if (newGroup) {
  name: groupName
  location: location
  tags: tags
}

module identity 'app/identity.bicep' = {
  scope: resourceGroup(groupName)
  params: {
    name: names.identity
    location: location
    tags: tags
  }
  dependsOn: [group]
}

module monitoring 'app/monitoring.bicep' = {
  scope: resourceGroup(groupName)
  params: {
    workspaceName: names.workspace
    insightsName: names.insights
    location: location
    tags: tags
  }
  dependsOn: [group]
}

module storage 'app/storage.bicep' = {
  scope: resourceGroup(groupName)
  params: {
    name: names.appAccount
    location: location
    tags: tags
    queueNames: queueNames
    packageContainerName: packageContainerName
    workContainerName: workContainerName
    deadLetterContainerName: deadLetterContainerName
    retentionDays: retentionDays
    workspaceId: workspaceId
  }
  dependsOn: [monitoring]
}

module data 'app/data.bicep' = {
  scope: resourceGroup(dataGroupName)
  params: {
    name: names.dataAccount
    newAccount: newDataAccount
    containerName: dataContainerName
    newContainer: newDataContainer
    blobPoisonQueueName: blobPoisonQueueName
    location: location
    tags: tags
    workspaceId: workspaceId
  }
  dependsOn: [monitoring]
}

module model 'app/model.bicep' = {
  scope: resourceGroup(openAiGroupName)
  params: {
    accountName: names.openAiAccount
    newAccount: newOpenAiAccount
    takesKeys: useKeyVault
    deploymentName: deploymentName
    newDeployment: newModelDeployment
    modelName: modelName
    modelVersion: modelVersion
    skuName: modelSku
    capacity: modelCapacity
    requestsPerThousandTokens: requestsPerThousandTokens
    location: location
    tags: tags
    workspaceId: workspaceId
  }
  dependsOn: [monitoring]
}

module vault 'app/vault.bicep' = if (useKeyVault) {
  scope: resourceGroup(groupName)
  params: {
    name: names.vault
    location: location
    tags: tags
    secretName: openAiSecretName
    secretValue: openAiKey
    workspaceId: workspaceId
  }
  dependsOn: [monitoring]
}

module topic 'app/topic.bicep' = {
  scope: resourceGroup(dataGroupName)
  params: {
    name: names.topic
    newTopic: newTopic
    sourceId: dataAccountId
    location: data.outputs.location
    tags: tags
    workspaceId: workspaceId
  }
}

// One file has every role assignment; it is deployed once to each resource group that has resources. The
// name of an assignment has its principal in it, which is known when the identity is there: a what-if
// cannot show these three.
module appRoles 'app/rbac.bicep' = {
  scope: resourceGroup(groupName)
  params: {
    #disable-next-line what-if-short-circuiting
    appPrincipalId: identity.outputs.principalId
    #disable-next-line what-if-short-circuiting
    topicPrincipalId: topic.outputs.principalId
    appAccountName: names.appAccount
    eventQueueName: eventQueueName
    deadLetterContainerName: deadLetterContainerName
    insightsName: names.insights
    vaultName: useKeyVault ? names.vault : 'none'
    secretName: openAiSecretName
  }
  dependsOn: [storage, vault]
}

module dataRoles 'app/rbac.bicep' = {
  scope: resourceGroup(dataGroupName)
  params: {
    #disable-next-line what-if-short-circuiting
    appPrincipalId: identity.outputs.principalId
    dataAccountName: names.dataAccount
    dataContainerName: dataContainerName
    labeledPrefix: labeledPrefix
    blobPoisonQueueName: blobPoisonQueueName
    uploaderPrincipalId: newDataContainer && !empty(uploaderPrincipalId) ? uploaderPrincipalId : 'none'
  }
  dependsOn: [data]
}

module modelRoles 'app/rbac.bicep' = {
  scope: resourceGroup(openAiGroupName)
  params: {
    #disable-next-line what-if-short-circuiting
    appPrincipalId: identity.outputs.principalId
    openAiAccountName: useKeyVault ? 'none' : names.openAiAccount
  }
  dependsOn: [model]
}

module subscriptions 'app/subscriptions.bicep' = {
  scope: resourceGroup(dataGroupName)
  params: {
    topicName: names.topic
    name: 'softlabel-${token}'
    containerName: dataContainerName
    basePath: basePath
    appAccountId: appAccountId
    queueName: eventQueueName
    deadLetterContainerName: deadLetterContainerName
  }
  // The topic's identity must be allowed to send before there is something to send.
  dependsOn: [appRoles]
}

module app 'app/function.bicep' = {
  scope: resourceGroup(groupName)
  params: {
    name: names.app
    planName: names.plan
    location: location
    tags: tags
    identityName: names.identity
    appAccountName: names.appAccount
    dataAccountName: names.dataAccount
    dataGroupName: dataGroupName
    packageContainerName: packageContainerName
    insightsName: names.insights
    maximumInstances: maximumInstances
    alwaysReadyInstances: alwaysReadyInstances
    instanceMemory: instanceMemory
    settings: union(
      {
        SOFTLABEL_DATA: dataPath
        SOFTLABEL_WORK_CONTAINER: workContainerName
        AZURE_OPENAI_ENDPOINT: model.outputs.endpoint
        AZURE_OPENAI_DEPLOYMENT: deploymentName
        SOFTLABEL_MODEL: model.outputs.modelName
        SOFTLABEL_TPM: string(model.outputs.tokensPerMinute)
        SOFTLABEL_RPM: string(model.outputs.requestsPerMinute)
        SOFTLABEL_AUTH: useKeyVault ? 'key' : 'entra'
        SOFTLABEL_CONCURRENCY: string(concurrency)
        SOFTLABEL_MAX_COST: string(maximumCost)
        SOFTLABEL_RETENTION_DAYS: string(retentionDays)
        SOFTLABEL_REPORT_TEXTS: reportTexts ? 'true' : 'false'
        SOFTLABEL_LOG: 'info'
      },
      empty(taskName) ? {} : { SOFTLABEL_TASK_NAME: taskName },
      maximumCostPerMonth > 0 ? { SOFTLABEL_MAX_COST_PER_MONTH: string(maximumCostPerMonth) } : {},
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
  scope: resourceGroup(groupName)
  params: {
    workspaceId: workspaceId
    actionGroupName: names.actionGroup
    queryPackName: names.queryPack
    token: token
    email: alertEmail
    location: location
    tags: tags
  }
  dependsOn: [monitoring]
}

// For azd and the hooks. None begins with SOFTLABEL_: the program refuses such variables that it does
// not know, and azd exports these.
output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = groupName
output APP_NAME string = names.app
output APP_URL string = app.outputs.url
output DATA_URL string = '${data.outputs.blobEndpoint}${dataPath}'
output DATA_RESOURCE_GROUP string = dataGroupName
output DATA_CONTAINER string = dataContainerName
output DATA_BASE_PATH string = basePath
output SYSTEM_TOPIC string = names.topic
