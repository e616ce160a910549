// Alerts and saved queries over the logs. What to do when an alert fires: README.md.

param workspaceId string
param actionGroupName string
param queryPackName string
@description('What tells this environment from others in the same resource group.')
param token string
param email string
param location string
param tags object

// How often an alert looks, and how far back. Every query counts what is wrong: more than none fires.
var frequency = 'PT15M'
var alerts = [
  {
    name: 'poison-queues'
    title: 'softlabel: messages in a poison queue'
    severity: 2
    range: 'P2D'
    query: loadTextContent('../queries/alert-poison-queues.kql')
  }
  {
    name: 'runs-failed'
    title: 'softlabel: runs failed or ended partial'
    severity: 2
    range: 'PT1H'
    query: loadTextContent('../queries/alert-runs-failed.kql')
  }
  {
    name: 'throttled'
    title: 'softlabel: many calls are answered 429'
    severity: 3
    range: 'PT1H'
    query: loadTextContent('../queries/alert-throttled.kql')
  }
  {
    name: 'stalled'
    title: 'softlabel: chunks wait without progress'
    severity: 2
    range: 'PT1H'
    query: loadTextContent('../queries/alert-stalled.kql')
  }
  {
    name: 'dead-letters'
    title: 'softlabel: events could not be delivered'
    severity: 2
    range: 'P1D'
    query: loadTextContent('../queries/alert-dead-letters.kql')
  }
  {
    name: 'awaiting-approval'
    title: 'softlabel: runs wait for an approval, or the next month, as they would cost more than a cap'
    severity: 3
    range: 'PT1H'
    query: loadTextContent('../queries/alert-awaiting-approval.kql')
  }
  {
    name: 'waiting'
    title: 'softlabel: a run has been waiting for more than an hour'
    severity: 2
    range: 'PT1H'
    query: loadTextContent('../queries/alert-waiting.kql')
  }
  {
    name: 'silent'
    title: 'softlabel: the app does not run'
    severity: 1
    range: 'PT1H'
    query: loadTextContent('../queries/alert-silent.kql')
  }
]

var queries = [
  {
    name: 'softlabel: runs'
    query: loadTextContent('../queries/runs.kql')
  }
  {
    name: 'softlabel: one run, line by line'
    query: loadTextContent('../queries/run.kql')
  }
  {
    name: 'softlabel: labelling by the minute'
    query: loadTextContent('../queries/throughput.kql')
  }
  {
    name: 'softlabel: events that were ignored'
    query: loadTextContent('../queries/ignored.kql')
  }
]

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: actionGroupName
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'softlabel'
    emailReceivers: empty(email)
      ? []
      : [
          {
            name: 'operators'
            emailAddress: email
            useCommonAlertSchema: true
          }
        ]
  }
}

resource rules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for alert in alerts: {
    name: 'softlabel-${alert.name}-${token}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: alert.title
      description: 'What to do: infra/README.md, "When an alert fires", ${alert.name}.'
      enabled: true
      severity: alert.severity
      scopes: [workspaceId]
      evaluationFrequency: frequency
      windowSize: frequency
      overrideQueryTimeRange: alert.range
      autoMitigate: true
      // In a new workspace a table is not known before its first line.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: alert.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: [actionGroup.id]
      }
    }
  }
]

resource queryPack 'Microsoft.OperationalInsights/queryPacks@2025-02-01' = {
  name: queryPackName
  location: location
  tags: tags
  properties: {}
}

resource savedQueries 'Microsoft.OperationalInsights/queryPacks/queries@2025-02-01' = [
  for query in queries: {
    parent: queryPack
    name: guid(queryPack.id, query.name)
    properties: {
      displayName: query.name
      body: query.query
    }
  }
]
