"use strict";
(() => {
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
  const at = (id) => document.getElementById(id);
  let timer = 0;
  let shown = PAGE;
  let busy = false;

  // Elements are made one by one: whatever a dataset is called stays text.
  const make = (name, text, classes) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (classes) element.className = classes;
    return element;
  };
  const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
  const usd = (cost) => (typeof cost === "number" ? `${cost.toFixed(2)} USD` : "an unknown sum");
  const failures = (run) => Object.values(run.errors || {}).reduce((sum, n) => sum + n, 0);
  const time = (seconds) => {
    if (seconds < 90) return `${Math.round(seconds)} s`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
    return `${(seconds / 3600).toFixed(1)} h`;
  };

  const call = async (path, body) => {
    const options = { headers: { "x-functions-key": sessionStorage.getItem(KEY) || "" }, cache: "no-store" };
    if (body !== undefined) {
      options.method = "POST";
      options.headers["Content-Type"] = "application/json";
      options.body = JSON.stringify(body);
    }
    const answer = await fetch(new URL(path, location.href), options);
    if (answer.status === 401 || answer.status === 403) {
      throw new Error("The app does not accept this key. Copy a function key and try again.");
    }
    let content = {};
    try { content = await answer.json(); } catch { /* A gateway's page, not ours. */ }
    if (!answer.ok) throw new Error(content.error || `The app answered ${answer.status}.`);
    return content;
  };

  const problem = (text) => {
    at("problem").textContent = text || "";
    at("problem").hidden = !text;
  };

  const bar = (bars, name, done, all) => {
    const progress = make("progress");
    progress.max = Math.max(all, 1);
    progress.value = done;
    progress.setAttribute("aria-label", `${name}: ${done} of ${all}`);
    bars.append(make("span", name), progress,
      make("span", `${done.toLocaleString("en")} / ${all.toLocaleString("en")}`, "numbers"));
  };

  // Bars of soft labels from 0 to 1, hard label 1 upon hard label 0.
  const histogram = (counts) => {
    const shape = (name, attributes) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      return element;
    };
    const most = Math.max(...counts.map(([zeros, ones]) => zeros + ones));
    const label = counts.map(([zeros, ones]) => zeros + ones).join(", ");
    const svg = shape("svg", {
      viewBox: `0 0 ${counts.length * 10} 50`, preserveAspectRatio: "none", class: "histogram",
      role: "img", "aria-label": `Soft labels from 0 to 1: ${label}`,
    });
    counts.forEach(([zeros, ones], i) => {
      const heights = [zeros, ones].map((n) => n / most * 50);
      const at = { x: i * 10 + 1, width: 8 };
      svg.append(shape("rect", { ...at, y: 50 - heights[0], height: heights[0] }),
        shape("rect", { ...at, y: 50 - heights[0] - heights[1], height: heights[1], class: "one" }));
    });
    return svg;
  };

  // What stands below a run's bars: sentences, each only where there is something to say.
  const sentences = (run) => {
    const said = [];
    if (run.reason) said.push(run.reason);
    if (run.not_before && !OVER.includes(run.state)) said.push(`Tried again at ${new Date(run.not_before).toLocaleTimeString()}.`);
    if (run.turns_per_second) said.push(`${run.turns_per_second.toFixed(1)} turns a second, ${run.seconds_left === null ? "" : `about ${time(run.seconds_left)} left.`}`);
    const cost = [`Cost so far ${usd(run.cost_usd)}`];
    if (!OVER.includes(run.state)) {
      if (typeof run.projected_usd === "number") cost.push(`about ${usd(run.projected_usd)} at the end`);
      if (typeof run.estimated_usd === "number") cost.push(`${usd(run.estimated_usd)} at most`);
    }
    said.push(`${cost.join(", ")}.`);
    const errors = Object.entries(run.errors || {});
    if (errors.length) said.push(`Without a label: ${errors.map(([code, n]) => `${n} ${code}`).join(", ")}.`);
    return said;
  };

  const button = (actions, text, title, body, path, extra) => {
    const element = make("button", text);
    element.type = "button";
    element.addEventListener("click", () => ask(title, body, path, extra));
    actions.append(element);
  };

  const article = (run) => {
    const element = make("article");
    if (run.state === "failed") element.classList.add("failed");
    const head = make("header");
    head.append(make("h3", run.file), make("span", SAYS[run.state] || run.state, "state"));
    element.append(head);
    if (run.turns !== null && run.turns !== undefined) {
      const bars = make("div", undefined, "bars");
      bar(bars, "labels", run.turns_done, run.turns);
      if (typeof run.rationales_done === "number") bar(bars, "rationales", run.rationales_done, run.turns - failures(run));
      element.append(bars);
    }
    const soft = run.soft_labels;
    if (soft) {
      const counts = soft.label_0.map((n, i) => [n, soft.label_1[i]]);
      if (counts.some(([zeros, ones]) => zeros + ones > 0)) element.append(histogram(counts));
    }
    for (const sentence of sentences(run)) element.append(make("p", sentence, sentence === run.reason ? "" : "soft"));
    const actions = make("div", undefined, "actions");
    const id = encodeURIComponent(run.run);
    if (run.state === "awaiting_approval") {
      button(actions, "Approve…", "Approve the cost?",
        `${run.dataset}: ${usd(run.estimated_usd)} at most for this file.`, `runs/${id}/approve`, "approve");
    }
    if (!OVER.includes(run.state)) {
      button(actions, "Cancel…", "Cancel this run?",
        `${run.file}: nothing is published. Labels that were paid for are kept for a while.`, `runs/${id}/cancel`);
    }
    if (run.state === "partial") {
      const [split, ...rest] = run.file.split("/");
      button(actions, "Relabel failed…", "Ask again for the failed turns?",
        `${run.file}: only turns that failed are asked again.`, "relabel",
        { dataset: run.dataset, splits: [split], buckets: [rest.join("/").replace(/\.json$/i, "")], only: "failed" });
    }
    if (actions.children.length) element.append(actions);
    if (run.links && run.links.labeled && (run.state === "complete" || run.state === "partial")) {
      element.append(make("p", `Labelled file: ${run.links.labeled}`, "soft"));
    }
    if (run.links && run.links.report && (run.state === "complete" || run.state === "partial")) {
      element.append(make("p", `Report: ${run.links.report}`, "soft"));
    }
    return element;
  };

  const ask = (title, text, path, extra) => {
    const dialog = at("ask");
    at("ask-title").textContent = title;
    at("ask-text").textContent = text;
    at("ask-amount").value = "";
    at("ask-amount-line").hidden = extra !== "approve";
    dialog.returnValue = "no";
    dialog.onclose = async () => {
      if (dialog.returnValue !== "yes") return;
      let body = typeof extra === "object" ? extra : {};
      if (extra === "approve") {
        const amount = at("ask-amount").value.trim();
        body = amount === "" ? { all: true } : { max_cost_usd: Number(amount) };
      }
      try {
        await call(path, body);
        problem("");
      } catch (error) {
        problem(error.message);
      }
      look();
    };
    dialog.showModal();
  };

  const draw = (content) => {
    const focused = document.activeElement && document.activeElement.textContent;
    const datasets = new Map();
    for (const run of content.runs) {
      if (!datasets.has(run.dataset)) datasets.set(run.dataset, []);
      datasets.get(run.dataset).push(run);
    }
    const list = make("div");
    for (const [dataset, runs] of datasets) {
      const section = make("section");
      const turns = runs.reduce((sum, run) => sum + (run.turns || 0), 0);
      const done = runs.reduce((sum, run) => sum + run.turns_done, 0);
      section.append(make("h2", dataset), make("p", `${count(runs.length, "run")}, ${done.toLocaleString("en")} of ${count(turns, "turn")}`, "soft"));
      section.append(...runs.map(article));
      list.append(section);
    }
    at("runs").replaceChildren(...list.childNodes);
    for (const element of at("runs").querySelectorAll("button")) {
      if (element.textContent === focused) { element.focus({ preventScroll: true }); break; }
    }
    const open = content.runs.filter((run) => !OVER.includes(run.state)).length;
    let says = content.runs.length === 0
      ? "There are no runs yet. Upload a dataset, with metadata.json last."
      : open === 0 ? `All ${count(content.runs.length, "run")} shown have ended.` : `${count(open, "run")} under way.`;
    const month = content.month;
    if (month && typeof month.max_cost_usd === "number") says += ` This month: ${usd(month.spent_usd)} of ${usd(month.max_cost_usd)}.`;
    if (at("summary").textContent !== says) at("summary").textContent = says;
    at("more").hidden = !content.continuation;
    return open;
  };

  const look = async () => {
    clearTimeout(timer);
    if (busy || document.hidden || !sessionStorage.getItem(KEY)) return;
    busy = true;
    let open = 1;
    try {
      const query = new URLSearchParams({ limit: String(shown) });
      if (at("dataset").value.trim()) query.set("dataset", at("dataset").value.trim());
      open = draw(await call(`runs?${query}`));
      problem("");
    } catch (error) {
      problem(error instanceof TypeError ? "The app cannot be reached." : error.message);
    }
    busy = false;
    // A page that asks for ever would keep the app awake, which costs money.
    if (open > 0) timer = setTimeout(look, EVERY);
  };

  const connect = (key) => {
    sessionStorage.setItem(KEY, key);
    at("key-form").hidden = true;
    at("tools").hidden = false;
    look();
  };

  at("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    connect(at("key").value.trim());
    at("key").value = "";
  });
  at("forget").addEventListener("click", () => {
    sessionStorage.removeItem(KEY);
    location.reload();
  });
  at("refresh").addEventListener("click", look);
  at("dataset").addEventListener("change", look);
  at("more").addEventListener("click", () => { shown = Math.min(shown + PAGE, 1000); look(); });
  document.addEventListener("visibilitychange", look);
  // A local run hands its token over in the fragment, which no server sees.
  if (location.hash.length > 1) {
    const key = decodeURIComponent(location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
    connect(key);
  } else if (sessionStorage.getItem(KEY)) {
    connect(sessionStorage.getItem(KEY));
  }
})();
