// The Azure OpenAI account and the model deployment, new or existing, and the quota that follows.

param accountName string
param newAccount bool
param takesKeys bool
param deploymentName string
param newDeployment bool
param modelName string
param modelVersion string
param skuName string
param capacity int
param requestsPerThousandTokens int
param location string
param tags object
param workspaceId string

// Requests a minute for each thousand tokens a minute, as Azure ties them together.
var ratios = loadJsonContent('../models.json', 'requestsPerThousandTokens')

resource newOne 'Microsoft.CognitiveServices/accounts@2025-06-01' = if (newAccount) {
  name: accountName
  location: location
  tags: tags
  kind: 'OpenAI'
  sku: {
    name: 'S0'
  }
  properties: {
    // Entra needs a host name of its own.
    customSubDomainName: accountName
    disableLocalAuth: !takesKeys
    publicNetworkAccess: 'Enabled'
  }
}

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' existing = if (!newAccount) {
  name: accountName
}

resource newModel 'Microsoft.CognitiveServices/accounts/deployments@2025-06-01' = if (newDeployment) {
  parent: account
  name: deploymentName
  sku: {
    name: skuName
    capacity: capacity
  }
  properties: {
    model: {
      format: 'OpenAI'
      name: modelName
      version: modelVersion
    }
    // Labels of two versions do not belong into one dataset.
    versionUpgradeOption: 'NoAutoUpgrade'
  }
  dependsOn: [newOne]
}

resource model 'Microsoft.CognitiveServices/accounts/deployments@2025-06-01' existing = if (!newDeployment) {
  parent: account
  name: deploymentName
}

resource metrics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (newAccount) {
  scope: newOne
  name: 'softlabel'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'Audit'
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
}

// An existing deployment says itself what it is, so a settled quota cannot differ from the real one.
var usedModel = newDeployment ? modelName : model!.properties.model.name
var usedCapacity = newDeployment ? capacity : model!.sku.capacity
var ratio = requestsPerThousandTokens > 0 ? requestsPerThousandTokens : ratios[usedModel]

output endpoint string = newAccount ? newOne!.properties.endpoint : account!.properties.endpoint
output modelName string = usedModel
output tokensPerMinute int = usedCapacity * 1000
output requestsPerMinute int = usedCapacity * ratio
