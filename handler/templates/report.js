"use strict";
// What comes from data goes into the page as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const list = by("list"), kind = by("kind"), bucket = by("bucket"), order = by("order"), search = by("search");
  const page = 50;
  let limit = page;

  const element = (name, className, ...children) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...children);
    return made;
  };
  const id = (turn) => `turn-${turn.bucket}-${turn.line}`;
  const number = (value, digits) => value === null ? "unknown" : value.toFixed(digits);
  // Characters that a reader would not see, or that turn the text around.
  const unseen = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
  const visible = (text) => text.replace(unseen, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

  const marks = (turn) => [
    [turn.censored, "only bounded"], [turn.lowMass, "low mass"], [turn.contradicting, "hard against soft"],
    [turn.cut, "cut"], [turn.reused, "answer of an identical turn"],
  ].filter(([set]) => set).map(([, text]) => element("span", "mark", text));

  const shown = (turn) => {
    const item = element("li");
    item.id = id(turn);
    const link = element("a", "", turn.soft === null ? `no label: ${turn.error}` : `${turn.hard}, soft ${number(turn.soft, 4)}`);
    link.href = `#${item.id}`;
    item.append(element("h3", "", link));
    item.append(element("p", "ids", visible(
      `${data.buckets[turn.bucket]}, line ${turn.line}, conversation ${turn.conversation || "without id"}, message ${turn.message || "without id"}`)));
    if (turn.text !== null) item.append(element("p", "said", visible(turn.text)));
    if (turn.said) item.append(element("p", "why", visible(turn.said)));
    if (turn.why) item.append(element("p", "why", visible(turn.why)));
    if (turn.soft !== null && turn.p0 !== null) {
      item.append(element("p", "facts", `p0 ${number(turn.p0, 4)}, p1 ${number(turn.p1, 4)}, mass ${number(turn.mass, 4)}, bounds ${number(turn.low, 4)} to ${number(turn.high, 4)}`));
    }
    const found = marks(turn);
    if (found.length) item.append(element("p", "facts", ...found));
    return item;
  };

  const distance = (turn) => turn.soft === null ? 2 : Math.abs(turn.soft - 0.5);
  const place = (a, b) => a.bucket - b.bucket || a.line - b.line;
  const orders = {
    uncertain: (a, b) => distance(a) - distance(b) || place(a, b),
    soft: (a, b) => (a.soft ?? 2) - (b.soft ?? 2) || place(a, b),
    falling: (a, b) => (b.soft ?? -1) - (a.soft ?? -1) || place(a, b),
    place,
  };

  const chosen = () => {
    const words = search.value.trim().toLowerCase();
    const has = (text) => text && text.toLowerCase().includes(words);
    return data.turns
      .filter((turn) => !kind.value || turn[kind.value])
      .filter((turn) => bucket.value === "" || turn.bucket === Number(bucket.value))
      .filter((turn) => !words || [turn.conversation, turn.message, turn.text, turn.why, turn.said, turn.error].some(has))
      .sort(orders[order.value]);
  };

  const show = () => {
    const turns = chosen();
    list.replaceChildren(...turns.slice(0, limit).map(shown));
    by("found").textContent = `${turns.length} of ${data.turns.length} turns, ${Math.min(limit, turns.length)} shown.`;
    by("more").hidden = turns.length <= limit;
  };
  const anew = () => { limit = page; show(); };

  // A link to a turn shows it, whatever is filtered.
  const jump = () => {
    const wanted = decodeURIComponent(location.hash.slice(1));
    if (!wanted.startsWith("turn-")) return;
    if (!by(wanted) && data.turns.some((turn) => id(turn) === wanted)) {
      kind.value = bucket.value = search.value = "";
      limit = data.turns.length;
      show();
    }
    by(wanted)?.scrollIntoView();
  };

  data.buckets.forEach((name, index) => {
    const option = element("option", "", visible(name));
    option.value = index;
    bucket.append(option);
  });
  by("filters").hidden = false;
  by("filters").addEventListener("submit", (event) => event.preventDefault());
  [kind, bucket, order].forEach((field) => field.addEventListener("change", anew));
  search.addEventListener("input", anew);
  by("more").addEventListener("click", () => { limit += page; show(); });
  addEventListener("hashchange", jump);
  addEventListener("beforeprint", () => { limit = data.turns.length; show(); });
  show();
  jump();
})();
