const data = JSON.parse(by("data").textContent);
const list = by("list"), kind = by("kind"), bucket = by("bucket"), order = by("order"), search = by("search");
const page = 50;
let limit = page;

const id = (turn) => `turn-${turn.bucket}-${turn.line}`;
// The turn that the address names.
let linked = location.hash.slice(1);
const number = (value, digits) => value === null ? "unknown" : value.toFixed(digits);
const marks = (turn) => [
  [turn.censored, "only bounded"], [turn.lowMass, "low mass"], [turn.contradicting, "hard against soft"],
  [turn.cut, "cut"], [turn.reused, "answer of an identical turn"],
].filter(([set]) => set).map(([, text]) => element("span", "mark", text));

const shown = (turn) => {
  const item = element("li", id(turn) === linked ? "linked" : "");
  item.id = id(turn);
  item.tabIndex = -1;
  const link = element("a", "", turn.soft === null ? `no label: ${turn.error}` : `${turn.hard}, soft ${number(turn.soft, 4)}`);
  link.href = `#${item.id}`;
  item.append(element("h3", "", link));
  item.append(element("p", "ids", visible(
    `${data.buckets[turn.bucket]}, line ${turn.line}, conversation ${turn.conversation || "without id"}, message ${turn.message || "without id"}`)));
  for (const [name, text] of [["said", turn.text], ["why", turn.said], ["why", turn.why]]) {
    if (text === null) continue;
    const paragraph = element("p", name, visible(text));
    // Each as its own language is written.
    paragraph.dir = "auto";
    item.append(paragraph);
  }
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
  by("found").textContent = `${count(turns.length)} of ${count(data.turns.length)} turns, ${count(Math.min(limit, turns.length))} shown.`;
  by("more").hidden = turns.length <= limit;
};
const anew = () => { limit = page; show(); };
const all = () => { limit = data.turns.length; show(); };

// A link to a turn shows it, whatever is filtered.
const jump = () => {
  if (!data.turns.some((turn) => id(turn) === linked)) return;
  show();
  if (!by(linked)) {
    kind.value = bucket.value = search.value = "";
    all();
  }
  by(linked).scrollIntoView();
  by(linked).focus({ preventScroll: true });
};
// In a frame without an origin no link may change the address.
const follow = (event) => {
  const link = event.target.closest("a");
  if (!link) return;
  event.preventDefault();
  linked = link.hash.slice(1);
  by(linked)?.focus();
  jump();
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
// The first of those that come is where a keyboard goes on.
by("more").addEventListener("click", () => {
  const next = limit;
  limit += page;
  show();
  list.children[next]?.focus({ preventScroll: true });
});
addEventListener("hashchange", () => {
  linked = location.hash.slice(1);
  jump();
});
if (location.protocol === "blob:") addEventListener("click", follow);
// On paper nothing can be unfolded.
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  all();
});
show();
jump();
