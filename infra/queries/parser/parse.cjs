// Parses each query that is given and binds its names to the tables of Log Analytics that ours read.
// Prints what Microsoft's parser calls an error, with its place, and fails if there is any.
'use strict';

const { readFileSync } = require('node:fs');

require('@kusto/language-service-next/bridge.js');
require('@kusto/language-service-next/Kusto.Language.Bridge.js');
const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;

// Columns as learn.microsoft.com/azure/azure-monitor/reference/tables has them, as far as we name them.
const tables = {
  AppTraces: '(TimeGenerated: datetime, Message: string, SeverityLevel: int, OperationName: string)',
  AzureMetrics: '(TimeGenerated: datetime, Resource: string, ResourceProvider: string, MetricName: string, Total: real)',
  StorageQueueLogs: '(TimeGenerated: datetime, OperationName: string, StatusCode: string, StatusText: string, Uri: string)',
};

const symbols = Object.entries(tables).map(
  ([name, columns]) => new Symbols.TableSymbol.$ctor7(name, columns, null));
const workspace = new Symbols.DatabaseSymbol.ctor('workspace', symbols);
const globals = GlobalState.Default.WithDatabase(workspace);

let failed = false;
for (const path of process.argv.slice(2)) {
  const text = readFileSync(path, 'utf8');
  const found = KustoCode.ParseAndAnalyze(text, globals).GetDiagnostics();
  for (let at = 0; at < found.Count; at += 1) {
    const { Severity, Start, Code, Message } = found.getItem(at);
    if (Severity !== 'Error') continue;
    const line = text.slice(0, Start).split('\n').length;
    console.error(`${path}:${line}: ${Code} ${Message}`);
    failed = true;
  }
}
process.exitCode = failed ? 1 : 0;
