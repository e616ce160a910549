const KEY = "softlabel-key";
const EVERY = 4000;
const PAGE = 100;
const OVER = ["complete", "partial", "failed", "superseded", "cancelled"];
const SAYS = {
  planning: "is being read",
  labeling: "is being labelled",
  waiting: "waits",
  awaiting_approval: "waits for an approval of its cost",
  complete: "is complete",
  partial: "is published, but not all of it could be labelled",
  failed: "failed",
  superseded: "was replaced by another run",
  cancelled: "was cancelled",
};
let timer = 0;
let limit = PAGE;
let busy = false;
// What was drawn of each run, from which answer.
let drawn = new Map();
// The turns without a label of runs whose list is open.
const failedTurns = new Map();
// Reports that were fetched before the command ended that served them.
const reports = new Map();

const counted = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
const usd = (cost) => (typeof cost === "number" ? `${cost.toFixed(2)} USD` : "an unknown sum");
const isOpen = (run) => !OVER.includes(run.state);
const failures = (run) => Object.values(run.errors).reduce((sum, n) => sum + n, 0);
const time = (seconds) => {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
};

// The answer to a request, or the reason that there is none, as a sentence.
const ask = async (path, body) => {
  const options = { headers: { "x-functions-key": sessionStorage.getItem(KEY) || "" }, cache: "no-store" };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(new URL(path, location.href), options);
  } catch {
    throw new Error("What serves this page cannot be reached. What is shown is what it said last.");
  }
  if (answer.status === 401 || answer.status === 403) {
    throw Object.assign(new Error("This key is not accepted. Copy it again, and try once more."), { refused: true });
  }
  if (answer.ok) return answer;
  let content = {};
  try { content = await answer.json(); } catch { /* A gateway's page, not ours. */ }
  throw new Error(content.error || `The answer was ${answer.status}.`);
};

const problem = (text) => {
  by("problem").textContent = text || "";
  by("problem").hidden = !text;
};
const orProblem = async (work) => {
  try {
    const done = await work();
    problem("");
    return done;
  } catch (error) {
    problem(error.message);
    return undefined;
  }
};

const bar = (bars, name, done, all) => {
  const progress = element("progress");
  progress.max = Math.max(all, 1);
  progress.value = done;
  progress.setAttribute("aria-label", `${name}: ${done} of ${all}`);
  bars.append(element("span", "", name), progress, element("span", "n", `${count(done)} / ${count(all)}`));
};

// Bars of soft labels from 0 to 1, hard label 1 upon hard label 0.
const histogram = (counts) => {
  const shape = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const most = Math.max(...counts.map(([zeros, ones]) => zeros + ones));
  const label = counts.map(([zeros, ones]) => zeros + ones).join(", ");
  const svg = shape("svg", {
    viewBox: `0 0 ${counts.length * 10} 50`, preserveAspectRatio: "none", class: "histogram",
    role: "img", "aria-label": `Soft labels from 0 to 1: ${label}`,
  });
  counts.forEach(([zeros, ones], i) => {
    const [low, high] = [zeros, ones].map((n) => n / most * 50);
    const at = { x: i * 10 + 1, width: 8 };
    svg.append(shape("rect", { ...at, y: 50 - low, height: low, class: "zero" }),
      shape("rect", { ...at, y: 50 - low - high, height: high, class: "one" }));
  });
  return svg;
};

// What stands below a run's bars: sentences, each only where there is something to say.
const sentences = (run) => {
  const said = [];
  if (run.reason) said.push(run.reason);
  if (run.not_before && isOpen(run)) said.push(`Tried again at ${new Date(run.not_before).toLocaleTimeString()}.`);
  if (run.turns_per_second) {
    const left = run.seconds_left === null ? "" : `, about ${time(run.seconds_left)} left`;
    said.push(`${run.turns_per_second.toFixed(1)} turns a second${left}.`);
  }
  const cost = [`Cost so far ${usd(run.cost_usd)}`];
  if (isOpen(run)) {
    if (typeof run.projected_usd === "number") cost.push(`about ${usd(run.projected_usd)} at the end`);
    if (typeof run.estimated_usd === "number") cost.push(`${usd(run.estimated_usd)} at most`);
  }
  said.push(`${cost.join(", ")}.`);
  if (run.throttled) said.push(`The service answered 429 ${counted(run.throttled, "time")}.`);
  return said;
};

// Something that is operated. Its key says what it is, whichever drawing it belongs to.
const operated = (made, key) => {
  made.dataset.key = key;
  return made;
};
const button = (text, key, act) => {
  const made = operated(element("button", "", text), key);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
};

// Turns without a label, by code; which ones, where somebody wants to know.
const unlabeled = (run) => {
  const details = element("details");
  const codes = Object.entries(run.errors).map(([code, n]) => `${count(n)} ${code}`);
  details.append(operated(element("summary", "", `Without a label: ${codes.join(", ")}`), `${run.run} errors`));
  const list = element("ul");
  const fill = () => {
    const turns = failedTurns.get(run.run) || [];
    list.replaceChildren(...turns.map((turn) => element("li", "", visible(
      `${turn.code}: conversation ${turn.conversation_id || "without id"}, message ${turn.message_id || "without id"}`))));
    if (turns.length < failures(run)) list.append(element("li", "quiet", "Their lines in the labelled file name all of them."));
  };
  details.append(list);
  details.open = failedTurns.has(run.run);
  if (details.open) fill();
  details.addEventListener("toggle", async () => {
    if (!details.open) return failedTurns.delete(run.run);
    const answer = await orProblem(async () => (await ask(`runs/${encodeURIComponent(run.run)}`)).json());
    failedTurns.set(run.run, answer ? answer.failed_turns : []);
    return fill();
  });
  return details;
};

const article = (run) => {
  const made = element("article", run.state === "failed" ? "failed" : "");
  made.append(element("header", "", element("h3", "", visible(run.file)), element("span", "state", SAYS[run.state] || run.state)));
  if (typeof run.turns === "number") {
    const bars = element("div", "bars");
    bar(bars, "labels", run.turns_done, run.turns);
    if (typeof run.rationales_done === "number") bar(bars, "rationales", run.rationales_done, run.turns - failures(run));
    made.append(bars);
  }
  const counts = run.soft_labels.label_0.map((n, i) => [n, run.soft_labels.label_1[i]]);
  if (counts.some(([zeros, ones]) => zeros + ones > 0)) made.append(histogram(counts));
  for (const sentence of sentences(run)) made.append(element("p", sentence === run.reason ? "" : "quiet", visible(sentence)));
  if (failures(run) > 0) made.append(unlabeled(run));
  if (run.state === "complete" || run.state === "partial") {
    made.append(element("p", "quiet", visible(`Labelled file: ${run.links.labeled}`)));
  }
  const actions = element("div", "actions");
  const path = `runs/${encodeURIComponent(run.run)}`;
  if (run.links.approve) {
    actions.append(button("Approve…", `${run.run} approve`, () => decide("Approve the cost?",
      `${run.dataset}: ${usd(run.estimated_usd)} at most for this file.`, `${path}/approve`)));
  }
  if (run.links.cancel) {
    actions.append(button("Cancel…", `${run.run} cancel`, () => decide("Cancel this run?",
      `${run.file}: nothing is published. Labels that were paid for are kept for a while.`, `${path}/cancel`, {})));
  }
  if (run.links.relabel) {
    const [split, ...rest] = run.file.split("/");
    const body = { dataset: run.dataset, splits: [split], buckets: [rest.join("/").replace(/\.jsonl?$/i, "")], only: "failed" };
    actions.append(button("Relabel failed…", `${run.run} relabel`, () => decide("Ask again for the failed turns?",
      `${run.file}: only turns that failed are asked again.`, "relabel", body)));
  }
  if (actions.children.length) made.append(actions);
  return made;
};

// Asks a person before something is sent. Without a body it is an approval, of what they type.
const decide = (title, text, path, body) => {
  const dialog = by("ask");
  by("ask-title").textContent = title;
  by("ask-text").textContent = visible(text);
  by("ask-amount").value = "";
  by("ask-amount-line").hidden = body !== undefined;
  dialog.returnValue = "no";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "yes") return;
    const amount = by("ask-amount").value.trim();
    const approval = amount === "" ? { all: true } : { max_cost_usd: Number(amount) };
    if (await orProblem(() => ask(path, body || approval))) look();
  };
  dialog.showModal();
};

const report = async (run) => reports.get(run.dataset)
  || (await ask(`runs/${encodeURIComponent(run.run)}/report`)).text();

// The report in a frame that has no origin, so that nothing in it reaches this page or its key.
const showReport = async (run) => {
  const html = await orProblem(() => report(run));
  if (html === undefined) return;
  const address = URL.createObjectURL(new Blob([html], { type: "text/html;charset=utf-8" }));
  const title = `Report of ${visible(run.dataset)}`;
  const frame = element("iframe");
  frame.title = title;
  frame.setAttribute("sandbox", "allow-scripts");
  frame.src = address;
  by("report-title").textContent = title;
  by("report-frame").replaceChildren(frame);
  by("report-save").onclick = () => {
    const link = element("a");
    link.href = address;
    link.download = `${run.dataset}-report.html`;
    link.click();
  };
  by("report").onclose = () => {
    by("report-frame").replaceChildren();
    URL.revokeObjectURL(address);
  };
  by("report").showModal();
};

const section = (dataset, runs, budget) => {
  const made = element("section");
  // A file's newest run comes first; those before it are not counted again.
  const files = new Map();
  for (const run of runs) if (!files.has(run.file)) files.set(run.file, run);
  const sum = (of) => [...files.values()].reduce((all, run) => all + (of(run) || 0), 0);
  const said = [`${counted(runs.length, "run")}, ${count(sum((run) => run.turns_done))} of ${counted(sum((run) => run.turns), "turn")}`];
  if (budget && typeof budget.max_cost_usd === "number") {
    said.push(`${usd(budget.spent_usd)} of at most ${usd(budget.max_cost_usd)} spent`);
  }
  made.append(element("h2", "", visible(dataset)), element("p", "quiet", `${said.join("; ")}.`));
  const reported = runs.find((run) => run.links.report);
  if (reported) made.append(element("div", "actions", button("Report", `${dataset} report`, () => showReport(reported))));
  for (const run of runs) {
    const answer = JSON.stringify(run);
    const before = drawn.get(run.run);
    const kept = before && before.answer === answer ? before : { answer, made: article(run) };
    drawn.set(run.run, kept);
    made.append(kept.made);
  }
  return made;
};

// Tokens and requests a minute of open runs, against the quota of the deployment that they share.
const rates = (content) => {
  const deployments = new Map();
  for (const run of content.runs.filter((run) => isOpen(run) && run.charged_per_minute)) {
    const sum = deployments.get(run.settings.deployment) || { tokens: 0, requests: 0 };
    sum.tokens += run.charged_per_minute.tokens;
    sum.requests += run.charged_per_minute.requests;
    deployments.set(run.settings.deployment, sum);
  }
  const of = (n, quota, noun) => quota === null ? `${count(Math.round(n))} ${noun} a minute`
    : `${count(Math.round(n))} of ${count(quota)} ${noun} a minute (${Math.round(n / quota * 100)} %)`;
  const { tokens_per_minute: tokens, requests_per_minute: requests } = content.quota;
  return [...deployments].map(([name, sum]) =>
    `${name}: ${of(sum.tokens, tokens, "tokens")}, ${of(sum.requests, requests, "requests")}.`).join(" ");
};

const summary = (content) => {
  const { runs, month, command } = content;
  const open = runs.filter(isOpen).length;
  let says = `All ${counted(runs.length, "run")} shown have ended.`;
  if (command && command.ended) says = `The command has ended: ${runs.length - open} of ${counted(runs.length, "run")} shown have ended.`;
  else if (command && runs.length === 0) says = "The files are being read.";
  else if (runs.length === 0) says = "There are no runs yet. Upload a dataset, with metadata.json last.";
  else if (open > 0) says = `${counted(open, "run")} under way.`;
  if (month && typeof month.max_cost_usd === "number") says += ` This month: ${usd(month.spent_usd)} of ${usd(month.max_cost_usd)}.`;
  return says;
};

// Draws an answer, and gives whether there will be more to see.
const draw = (content) => {
  const { runs, command } = content;
  const focused = document.activeElement && document.activeElement.dataset.key;
  const datasets = new Map();
  for (const run of runs) {
    if (!datasets.has(run.dataset)) datasets.set(run.dataset, []);
    datasets.get(run.dataset).push(run);
  }
  const names = new Set(runs.map((run) => run.run));
  drawn = new Map([...drawn].filter(([run]) => names.has(run)));
  by("runs").replaceChildren(...[...datasets].map(([name, runs]) => section(name, runs, content.datasets[name])));
  if (focused) by("runs").querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  const says = summary(content);
  if (by("summary").textContent !== says) by("summary").textContent = says;
  by("rates").textContent = visible(rates(content));
  by("more").hidden = !content.continuation;
  // One command has one dataset and a key that came with its address.
  by("filter").hidden = by("forget").hidden = Boolean(command);
  by("refresh").hidden = Boolean(command && command.ended);
  return command ? !command.ended : runs.some(isOpen);
};

const look = async () => {
  clearTimeout(timer);
  if (busy || document.hidden || !sessionStorage.getItem(KEY)) return;
  busy = true;
  let more = true;
  try {
    const query = new URLSearchParams({ limit: String(limit) });
    if (by("dataset").value.trim()) query.set("dataset", by("dataset").value.trim());
    const content = await (await ask(`runs?${query}`)).json();
    more = draw(content);
    problem("");
    const reported = content.runs.find((run) => run.links.report);
    if (content.command && content.command.ended && reported) reports.set(reported.dataset, await report(reported));
  } catch (error) {
    problem(error.message);
    more = more && !error.refused;
  }
  busy = false;
  // A page that asks for ever would keep the app awake, which costs money.
  if (more) timer = setTimeout(look, EVERY);
};

const connect = (key) => {
  sessionStorage.setItem(KEY, key);
  by("key-form").hidden = true;
  by("tools").hidden = false;
  look();
};

by("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  connect(by("key").value.trim());
  by("key").value = "";
});
by("forget").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  location.reload();
});
by("refresh").addEventListener("click", look);
by("dataset").addEventListener("change", look);
by("more").addEventListener("click", () => { limit = Math.min(limit + PAGE, 1000); look(); });
document.addEventListener("visibilitychange", look);
// A command hands its token over in the fragment, which no server sees.
if (location.hash.length > 1) {
  const key = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  connect(key);
} else if (sessionStorage.getItem(KEY)) {
  connect(sessionStorage.getItem(KEY));
}
