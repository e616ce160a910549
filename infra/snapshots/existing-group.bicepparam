// Into a resource group that is there, with everything else in it: it must not be touched itself.
using '../main.bicep'

param environmentName = 'prod'
param location = 'swedencentral'
param alertEmail = 'operators@example.com'

param resourceGroupName = 'rg-shared'
