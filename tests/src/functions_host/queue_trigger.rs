//! Functions that a queue's messages wake.

use std::sync::Arc;

use super::function::Function;
use super::instance::{Call, Execution, Instance};
use super::payload::Payload;
use super::queue_listener::{QueueListener, Work};
use crate::storage::{Message, Queue, Storage};

pub(super) struct QueueFunction {
    instance: Arc<Instance>,
    function: Arc<Function>,
    poison: Option<Queue>,
}

/// What the name of a poison queue ends with.
const POISON: &str = "-poison";

/// Who wakes this function by that queue.
pub(super) fn listener(
    instance: &Arc<Instance>,
    function: &Arc<Function>,
    queue: &str,
    storage: &Storage,
) -> QueueListener<QueueFunction> {
    QueueListener {
        instance: Arc::clone(instance),
        queue: storage.queue(queue),
        settings: instance.app.queues.clone(),
        watcher: instance.watcher(queue),
        work: QueueFunction {
            instance: Arc::clone(instance),
            function: Arc::clone(function),
            // `QueueListenerFactory.CreatePoisonQueueReference`: a poison queue has none of its own.
            poison: (!queue.ends_with(POISON)).then(|| storage.queue(&format!("{queue}{POISON}"))),
        },
    }
}

impl Work for QueueFunction {
    async fn run(&self, message: &Message, text: &str) -> Execution {
        let payload = Payload::message(&self.function.binding, message, text);
        let call = Call {
            function: &self.function,
            subject: text,
            dequeue_count: Some(message.dequeue_count),
        };
        self.instance.execute(call, &payload).await
    }

    fn poison(&self, _: Option<&str>) -> Option<Queue> {
        self.poison.clone()
    }
}
