// The datasets' account with its topic, and the model, are there, in resource groups of their own.
using '../main.bicep'

param environmentName = 'prod'
param location = 'swedencentral'
param alertEmail = 'operators@example.com'

param dataAccountName = 'stdatasets'
param dataResourceGroupName = 'rg-datasets'
param dataContainerName = 'sft-data'
param dataBasePath = '/experiments//test/v4/'
param dataSystemTopicName = 'evgt-datasets'

param openAiAccountName = 'oai-shared'
param openAiResourceGroupName = 'rg-models'
param modelDeploymentName = 'labels'
