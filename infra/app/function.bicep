// The function app on Flex Consumption.

param name string
param planName string
param location string
param tags object
param identityId string
param clientId string
param packageContainerName string

@description('Endpoints of the app\'s own storage.')
param appEndpoints object

@description('Endpoints of the storage with the datasets.')
param dataEndpoints object

param insightsName string
param maximumInstances int
param instanceMemory int

@description('What softlabel itself reads.')
param settings object

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

// What the host and softlabel reach storage with: the app's identity, never a key.
var connections = {
  AzureWebJobsStorage__blobServiceUri: appEndpoints.blob
  AzureWebJobsStorage__queueServiceUri: appEndpoints.queue
  AzureWebJobsStorage__tableServiceUri: appEndpoints.table
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: clientId
  SoftlabelData__blobServiceUri: dataEndpoints.blob
  SoftlabelData__queueServiceUri: dataEndpoints.queue
  SoftlabelData__credential: 'managedidentity'
  SoftlabelData__clientId: clientId
  AZURE_CLIENT_ID: clientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${clientId};Authorization=AAD'
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    // Linux.
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${appEndpoints.blob}${packageContainerName}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstances
        instanceMemoryMB: instanceMemory
      }
      runtime: {
        name: 'custom'
        version: '1.0'
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
    }
  }
}

// No FUNCTIONS_WORKER_RUNTIME: on Flex Consumption `runtime` above says it.
resource appSettings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'appsettings'
  properties: union(connections, settings)
}

// Only Entra identities publish.
resource publishing 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = [
  for way in ['ftp', 'scm']: {
    parent: app
    name: way
    properties: {
      allow: false
    }
  }
]

output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
