// The function app on Flex Consumption.

param name string
param planName string
param location string
param tags object
param identityName string
param appAccountName string
param packageContainerName string
param dataAccountName string
param dataGroupName string
param insightsName string
param maximumInstances int
param alwaysReadyInstances int
param instanceMemory int

@description('What softlabel itself reads.')
param settings object

// What people wait for: answers to requests, an upload that is planned, labels.
var alwaysReady = ['http', 'function:bucket-uploaded', 'function:label-chunk']

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource appAccount 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: appAccountName
}

resource dataAccount 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  scope: resourceGroup(dataGroupName)
  name: dataAccountName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

// What the host and softlabel reach storage with: the app's identity, never a key.
var clientId = identity.properties.clientId
var appEndpoints = appAccount.properties.primaryEndpoints
var dataEndpoints = dataAccount.properties.primaryEndpoints
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
  // azd finds the app by it.
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
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
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstances
        instanceMemoryMB: instanceMemory
        alwaysReady: alwaysReadyInstances == 0
          ? []
          : map(alwaysReady, group => { name: group, instanceCount: alwaysReadyInstances })
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

// Only Entra identities publish. One after the other: a new site refuses two changes at a time.

resource ftp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
  dependsOn: [appSettings]
}

resource scm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
  dependsOn: [ftp]
}

output url string = 'https://${app.properties.defaultHostName}'
