// What `azd up` makes of an empty subscription.
using '../main.bicep'

param environmentName = 'prod'
param location = 'swedencentral'
param alertEmail = 'operators@example.com'
