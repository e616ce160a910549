//! The bill of materials: which crates are in the executable, for programs to read (CycloneDX 1.6).

use crate::crates::{Crate, Id, PACKAGE};
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The bill for an executable of `crates`, as JSON. The same crates give the same bytes: it has neither
/// a time nor a random number.
pub fn write(crates: &[Crate]) -> Result<Vec<u8>> {
    let (own, others): (Vec<_>, Vec<_>) = crates.iter().partition(|it| it.id.0 == PACKAGE);
    let own = own.first().context("softlabel is none of the crates")?;
    let dependencies = crates.iter().map(|it| {
        let uses: Vec<_> = it.uses.iter().map(purl).collect();
        json!({"ref": purl(&it.id), "dependsOn": uses})
    });
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(own, "application")},
        "components": others.iter().map(|it| component(it, "library")).collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    });
    let mut bytes = serde_json::to_vec_pretty(&bill)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn component(it: &Crate, kind: &str) -> Value {
    let (name, version) = &it.id;
    let mut component = json!({
        "type": kind,
        "bom-ref": purl(&it.id),
        "name": name,
        "version": version,
        "licenses": [{"expression": it.license}],
        "purl": purl(&it.id),
    });
    if let Some(description) = &it.description {
        component["description"] = json!(description);
    }
    if let Some(checksum) = &it.checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    if let Some(repository) = &it.repository {
        component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
    }
    component
}

/// A crate's package URL.
pub fn purl((name, version): &Id) -> String {
    // Of what a version may hold, only this is written another way.
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}
