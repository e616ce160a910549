#!/usr/bin/env python3
"""Renews the official resource types in this folder: python3 infra/types/renew.py

Needs Linux on x86-64, npm and pip. Two published packages carry the types, generated from
Azure's API specifications:

* npm @azure/mcp-linux-x64, offline: `azmcp bicepschema get`. It lacks Azure Monitor's types.
* PyPI azure-mgmt-monitor: its models' `_attribute_map` and `_validation`.

Both are pinned, with their hashes, in package-lock.json and monitor.txt. To add a type, add it
below. A file keeps what the checks use: the properties that can be reached from the body, their
types, flags and limits.
"""

import ast
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
WORK = HERE.parent.parent / "target" / "bicep-types"

TYPES = [
    "Microsoft.Authorization/roleAssignments",
    "Microsoft.CognitiveServices/accounts",
    "Microsoft.CognitiveServices/accounts/deployments",
    "Microsoft.EventGrid/systemTopics",
    "Microsoft.EventGrid/systemTopics/eventSubscriptions",
    "Microsoft.Insights/components",
    "Microsoft.KeyVault/vaults",
    "Microsoft.KeyVault/vaults/secrets",
    "Microsoft.ManagedIdentity/userAssignedIdentities",
    "Microsoft.OperationalInsights/queryPacks",
    "Microsoft.OperationalInsights/queryPacks/queries",
    "Microsoft.OperationalInsights/workspaces",
    "Microsoft.Resources/resourceGroups",
    "Microsoft.Storage/storageAccounts",
    "Microsoft.Storage/storageAccounts/blobServices",
    "Microsoft.Storage/storageAccounts/blobServices/containers",
    "Microsoft.Storage/storageAccounts/managementPolicies",
    "Microsoft.Storage/storageAccounts/queueServices",
    "Microsoft.Storage/storageAccounts/queueServices/queues",
    "Microsoft.Web/serverfarms",
    "Microsoft.Web/sites",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies",
    "Microsoft.Web/sites/config",
]

# Resource type -> (version of azure-mgmt-monitor, module, class, API version, scopes).
MONITOR = {
    "Microsoft.Insights/actionGroups":
        ("6.0.2", "v2023_01_01/models", "ActionGroupResource", "2023-01-01", "ResourceGroup"),
    "Microsoft.Insights/diagnosticSettings":
        ("6.0.2", "v2021_05_01_preview/models", "DiagnosticSettingsResource", "2021-05-01-preview", "Extension"),
    "Microsoft.Insights/scheduledQueryRules":
        ("7.0.0", "models", "ScheduledQueryRuleResource", "2023-12-01", "ResourceGroup"),
}

PRIMITIVES = {
    "str": "string", "int": "int", "float": "int", "bool": "bool", "object": "any",
    "duration": "string", "iso-8601": "string",
}


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    azmcp = install_azmcp()
    wheels = install_monitor()
    for name in TYPES:
        write(from_azmcp(azmcp, name))
    for name, (version, module, model, api, scopes) in MONITOR.items():
        write(from_models(wheels[version] / "azure/mgmt/monitor" / module, name, model, api, scopes))


def install_azmcp():
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, WORK / name)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=WORK, check=True)
    return WORK / "node_modules/@azure/mcp-linux-x64/dist/azmcp"


def install_monitor():
    wheels = {}
    for requirement in (HERE / "monitor.txt").read_text().splitlines():
        version = re.match(r"azure-mgmt-monitor==(\S+)", requirement)[1]
        folder = WORK / f"monitor-{version}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "requirement.txt").write_text(requirement)
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
             "--only-binary", ":all:", "--dest", folder, "-r", folder / "requirement.txt"],
            check=True,
        )
        zipfile.ZipFile(next(folder.glob("*.whl"))).extractall(folder)
        wheels[version] = folder
    return wheels


def from_azmcp(azmcp, name):
    environment = {"DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1", "AZURE_MCP_COLLECT_TELEMETRY": "false"}
    answer = subprocess.run(
        [azmcp, "bicepschema", "get", "--resource-type", name],
        env=environment | {"PATH": os.environ["PATH"], "HOME": str(WORK)},
        capture_output=True, check=True,
    )
    parts = json.loads(answer.stdout)["results"]["BicepSchemaResult"]
    resource = next(p for p in parts if p["$type"] == "Resource" and p["name"].startswith(name + "@"))
    objects = {p["name"]: from_part(p) for p in parts if p["$type"] in ("Object", "DiscriminatedObject")}
    objects[name] = from_part(resource["bodyType"])
    return {
        "type": name,
        "apiVersion": resource["name"].split("@")[1],
        "scopes": resource["writableScopes"],
        "objects": reachable(objects, name),
    }


def from_part(part):
    if part["$type"] == "DiscriminatedObject":
        return {
            "discriminator": part["discriminator"],
            "properties": properties(part["baseProperties"]),
            "elements": [properties(element["properties"]) for element in part["elements"]],
        }
    result = {"properties": properties(part["properties"])}
    if part.get("additionalPropertiesType"):
        result["additional"] = part["additionalPropertiesType"]
    return result


def properties(listed):
    result = {}
    for entry in listed:
        flags = [f for f in (entry.get("flags") or "").split(", ") if f in ("Required", "ReadOnly")]
        words = [entry["type"]] + flags
        if entry.get("modifiers"):
            words.append(entry["modifiers"])
        result[entry["name"]] = words
    return result


def reachable(objects, root):
    kept, todo = {}, [root]
    while todo:
        name = todo.pop()
        if name in kept:
            continue
        kept[name] = objects[name]
        groups = [objects[name]["properties"], *objects[name].get("elements", [])]
        types = [words[0] for group in groups for words in group.values()]
        types.append(objects[name].get("additional") or "any")
        for union in types:
            for one in union.split(" | "):
                one = one.removesuffix("[]")
                if one in objects:
                    todo.append(one)
    return dict(sorted(kept.items()))


def from_models(folder, name, model, api, scopes):
    models = {c.name: c for c in ast.parse((folder / "_models_py3.py").read_text()).body if isinstance(c, ast.ClassDef)}
    enums = read_enums(next(folder.glob("*_enums.py")))
    objects = {}
    todo = [model]
    while todo:
        one = todo.pop()
        if one in objects or one not in models:
            continue
        objects[one] = from_class(models, enums, one)
        for words in objects[one]["properties"].values():
            todo += [t.removesuffix("[]") for t in words[0].split(" | ")]
        todo.append(objects[one].get("additional", "any"))
    body = nest(objects, objects.pop(model)["properties"], name)
    # The models leave the name to the URL.
    body["name"] = ["string", "Required"]
    objects[name] = {"properties": body}
    return {"type": name, "apiVersion": api, "scopes": scopes, "objects": dict(sorted(objects.items()))}


def nest(objects, flat, name):
    """Makes `properties.x` of a flattened model the property x of an object of its own."""
    body, inner = {}, {}
    for key, words in flat.items():
        if key.startswith("properties."):
            inner[key.removeprefix("properties.")] = words
        else:
            body[key] = words
    objects[name + ".properties"] = {"properties": inner}
    body["properties"] = [name + ".properties", "Required"]
    return body


def read_enums(path):
    enums = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            values = [s.value.value for s in node.body if isinstance(s, ast.Assign)]
            enums[node.name] = " | ".join(str(v) for v in values) + " | string"
    return enums


def from_class(models, enums, name):
    node = models[name]
    wire, validation = {}, {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in models:
            inherited = from_class(models, enums, base.id)
            wire.update(inherited["properties"])
    attributes, annotations = {}, {}
    for statement in node.body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == "_attribute_map":
            attributes = ast.literal_eval(statement.value)
        elif isinstance(statement, ast.Assign) and statement.targets[0].id == "_validation":
            validation = ast.literal_eval(statement.value)
        elif isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            annotations = {a.arg: ast.unparse(a.annotation) for a in statement.args.kwonlyargs}
    for key, entry in attributes.items():
        enum = re.search(r"_models\.(\w+)", annotations.get(key, ""))
        kind = enums.get(enum[1]) if enum else None
        words = [kind or wire_type(entry["type"])]
        rules = validation.get(key, {})
        words += ["Required"] if rules.get("required") else []
        words += ["ReadOnly"] if rules.get("readonly") else []
        limits = [
            f"{ours}: {rules[theirs]}"
            for theirs, ours in (("min_length", "minLength"), ("max_length", "maxLength")) if theirs in rules
        ]
        wire[entry["key"]] = words + ([", ".join(limits)] if limits else [])
    return {"properties": wire}


def wire_type(kind):
    if kind.startswith("["):
        return wire_type(kind[1:-1]) + "[]"
    if kind.startswith("{"):
        return "any"
    return PRIMITIVES.get(kind, kind)


def write(definition):
    """One property a line, so that a renewal can be reviewed."""
    def block(properties, indent):
        lines = [f"{indent}{json.dumps(key)}: {json.dumps(words)}" for key, words in properties.items()]
        return "{\n" + ",\n".join(lines) + "\n" + indent[2:] + "}" if lines else "{}"

    parts = []
    for name, entry in definition["objects"].items():
        fields = [f'      "properties": {block(entry["properties"], " " * 8)}']
        for key in ("additional", "discriminator"):
            if key in entry:
                fields.insert(0, f'      "{key}": {json.dumps(entry[key])}')
        if "elements" in entry:
            elements = ", ".join(block(element, " " * 8) for element in entry["elements"])
            fields.append(f'      "elements": [{elements}]')
        parts.append(f"    {json.dumps(name)}: {{\n" + ",\n".join(fields) + "\n    }")
    head = "".join(f'  "{key}": {json.dumps(definition[key])},\n' for key in ("type", "apiVersion", "scopes"))
    text = "{\n" + head + '  "objects": {\n' + ",\n".join(parts) + "\n  }\n}\n"
    json.loads(text)
    (HERE / (definition["type"].replace("/", ".") + ".json")).write_text(text)


if __name__ == "__main__":
    main()
