// A new container and a new model deployment in accounts that are there, in the app's resource group.
using '../main.bicep'

param environmentName = 'prod'
param location = 'swedencentral'
param alertEmail = 'operators@example.com'

param resourceGroupName = 'rg-shared'
param dataAccountName = 'stdatasets'
param newDataContainer = true
param openAiAccountName = 'oai-shared'
param newModelDeployment = true
param modelName = 'gpt-4o'
param modelVersion = '2024-11-20'
