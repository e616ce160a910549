// The model is shown a key that lies in a vault.
using '../main.bicep'

param environmentName = 'prod'
param location = 'swedencentral'
param alertEmail = 'operators@example.com'

param useKeyVault = true
param openAiKey = 'THE-KEY'
