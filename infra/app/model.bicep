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
var ratios = loadJsonContent('../models.json')

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

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' existing = {
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

resource model 'Microsoft.CognitiveServices/accounts/deployments@2025-06-01' existing = {
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

// The deployment itself says what it is, new or not, so a settled quota cannot differ from the real one.
// An output is read when everything is there.
var ratio = requestsPerThousandTokens > 0 ? requestsPerThousandTokens : ratios[model.properties.model.name]

output accountName string = account.name
output endpoint string = account.properties.endpoint
output deploymentName string = model.name
output modelName string = model.properties.model.name
output tokensPerMinute int = model.sku.capacity * 1000
output requestsPerMinute int = model.sku.capacity * ratio
