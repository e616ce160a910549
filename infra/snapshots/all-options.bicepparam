// Every other option, with a value that is not its default.
using '../main.bicep'

param environmentName = 'test'
param location = 'westeurope'
param alertEmail = ''

param dataContainerName = 'sft-data'
param dataBasePath = 'a/b'
param uploaderPrincipalId = '00000000-0000-0000-0000-000000000003'

param modelDeploymentName = 'labels'
param modelName = 'gpt-9'
param modelVersion = '2027-01-01'
param modelSku = 'DataZoneStandard'
param modelCapacity = 33
param requestsPerThousandTokens = 3

param taskName = 'angry'

param useKeyVault = true
param openAiSecretName = 'labels-key'

param maximumInstances = 100
param alwaysReadyInstances = 1
param instanceMemory = 512
param concurrency = 7
param maximumCost = 20
param maximumCostPerMonth = 500
param retentionDays = 3
param moreSettings = {
  SOFTLABEL_PRICE_INPUT: '2.5'
  SOFTLABEL_PRICE_OUTPUT: '20'
}
