// Which events wake the app. The webhook of the blob trigger is another one, made after the app is
// deployed (infra/hooks/postdeploy.sh); this one is enough.

param topicName string
param name string
param containerName string
param basePath string
param appAccountId string
param queueName string
param deadLetterContainerName string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

var below = '/${containerName}/${empty(basePath) ? '' : '${basePath}/'}'
var retryPolicy = {
  eventTimeToLiveInMinutes: 1440
  maxDeliveryAttempts: 30
}
var delivery = {
  identity: {
    type: 'SystemAssigned'
  }
  destination: {
    endpointType: 'StorageQueue'
    properties: {
      resourceId: appAccountId
      queueName: queueName
      // Without an end: the default of seven days could lose an event while the app is stopped.
      queueMessageTimeToLiveInSeconds: -1
    }
  }
}
var deadLetters = {
  identity: {
    type: 'SystemAssigned'
  }
  deadLetterDestination: {
    endpointType: 'StorageBlob'
    properties: {
      resourceId: appAccountId
      blobContainerName: deadLetterContainerName
    }
  }
}

resource bucketUploaded 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: name
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: ['Microsoft.Storage.BlobCreated']
      // Of .JSON too.
      isSubjectCaseSensitive: false
      subjectBeginsWith: '/blobServices/default/containers/${containerName}/blobs/${empty(basePath) ? '' : '${basePath}/'}'
      subjectEndsWith: '.json'
      advancedFilters: [
        {
          // Complete blobs only.
          operatorType: 'StringIn'
          key: 'data.api'
          values: ['PutBlob', 'PutBlockList', 'CopyBlob', 'FlushWithClose', 'SftpCommit']
        }
        {
          // Nothing that we write starts anything.
          operatorType: 'StringNotContains'
          key: 'subject'
          values: ['/LABELED_', '/invalid_records_']
        }
        {
          // The dataset's metadata has its own function.
          operatorType: 'StringNotEndsWith'
          key: 'subject'
          values: ['/metadata.json']
        }
      ]
    }
    retryPolicy: retryPolicy
    deliveryWithResourceIdentity: delivery
    deadLetterWithResourceIdentity: deadLetters
  }
}

// With a hierarchical namespace a blob or a folder also comes by being renamed: Spark's commits, `mv`, Storage
// Explorer. Where it is then stands in destinationUrl; the subject of a folder has no end to go by.
resource renamed 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: '${name}-renamed'
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: ['Microsoft.Storage.BlobRenamed', 'Microsoft.Storage.DirectoryRenamed']
      advancedFilters: [
        {
          operatorType: 'StringContains'
          key: 'data.destinationUrl'
          values: [below]
        }
        {
          // Nothing that we write starts anything.
          operatorType: 'StringNotContains'
          key: 'data.destinationUrl'
          values: ['/LABELED_', '/invalid_records_']
        }
      ]
    }
    retryPolicy: retryPolicy
    deliveryWithResourceIdentity: delivery
    deadLetterWithResourceIdentity: deadLetters
  }
  // A topic takes one change at a time.
  dependsOn: [bucketUploaded]
}
