//! Azure's built-in roles, as far as we use them.

/// A role.
#[derive(Debug)]
pub struct Role {
    /// As the portal shows it.
    pub name: &'static str,
    /// The same in every tenant.
    pub id: &'static str,
    /// What it allows, in our words.
    pub powers: &'static [&'static str],
}

/// Copied from Azure's list of built-in roles, and each compared with a second publication.
pub const ROLES: &[Role] = &[
    Role {
        name: "Cognitive Services OpenAI User",
        id: "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd",
        powers: &["call the model"],
    },
    Role {
        name: "Key Vault Secrets User",
        id: "4633458b-17de-408a-b874-0445c86b69e6",
        powers: &["read secrets"],
    },
    Role {
        name: "Monitoring Metrics Publisher",
        id: "3913510d-42f4-4e42-8a64-420c390055eb",
        powers: &["send telemetry"],
    },
    Role {
        name: "Storage Blob Data Contributor",
        id: "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        powers: &[
            "read blobs",
            "write blobs",
            "delete blobs",
            "make containers",
        ],
    },
    Role {
        name: "Storage Blob Data Owner",
        id: "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
        powers: &[
            "read blobs",
            "write blobs",
            "delete blobs",
            "make containers",
        ],
    },
    Role {
        name: "Storage Blob Data Reader",
        id: "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
        powers: &["read blobs"],
    },
    Role {
        name: "Storage Queue Data Contributor",
        id: "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
        powers: &["send messages", "process messages", "make queues"],
    },
    Role {
        name: "Storage Queue Data Message Sender",
        id: "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a",
        powers: &["send messages"],
    },
    Role {
        name: "Storage Table Data Contributor",
        id: "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
        powers: &["write tables"],
    },
];
