// Reads a report as a person does: `node report.mjs FILE`, where FILE is the report of a dataset with hostile texts,
// failures in every bucket and more turns than are listed at once.

import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { accessible, onATelephone, onStage, picture, tabbed } from "./stage.mjs";

const file = process.argv[2];
const address = pathToFileURL(file).href;

await onStage((url) => url.split("#")[0] === address, async (page, context) => {
  await page.addInitScript(() => {
    window.refused = [];
    document.addEventListener("securitypolicyviolation", (event) => window.refused.push(event.violatedDirective));
  });
  await page.goto(address);
  const data = await page.evaluate(() => JSON.parse(document.getElementById("data").textContent));
  const items = page.locator("#list > li");
  const listed = () => items.evaluateAll((all) => all.map((item) => item.id));
  const id = (turn) => `turn-${turn.bucket}-${turn.line}`;
  const found = async (n) => {
    await page.locator("#found", { hasText: `${n.toLocaleString("en")} of ${data.turns.length.toLocaleString("en")} turns` }).waitFor();
    assert.equal(await items.count(), Math.min(n, 50));
  };
  await found(data.turns.length);
  assert.ok(data.turns.length > 100 && statSync(file).size < 5_000_000);

  // Texts are texts.
  assert.equal(await page.locator("img, iframe, object, [onerror], [style]").count(), 0);
  await page.locator("#search").fill("onerror");
  const hostile = await page.locator(".said").first().textContent();
  assert.ok(hostile.includes("</script><img src=x onerror=") && hostile.includes("\\u{202e}"), hostile);
  await page.locator("#search").fill("a lone half");
  assert.match(await page.locator(".said").first().textContent(), /half \ufffd pair/);
  await page.locator("#search").fill("long story");
  const long = await page.locator(".said").first().textContent();
  assert.ok(long.endsWith("…") && long.length > 500 && long.length < 3_000, `${long.length}`);
  await page.locator("#search").fill("שלום");
  assert.equal(await page.locator(".said").first().evaluate((said) => getComputedStyle(said).direction), "rtl");
  await page.locator("#search").fill("");
  await found(data.turns.length);
  await accessible(page, "the report");

  // Filters, search and order.
  for (const kind of ["uncertain", "contradicting", "failed", "random"]) {
    await page.locator("#kind").selectOption(kind);
    const expected = data.turns.filter((turn) => turn[kind]);
    assert.ok(expected.length > 0, kind);
    await found(expected.length);
    const ids = new Set(expected.map(id));
    assert.ok((await listed()).every((it) => ids.has(it)), kind);
  }
  await page.locator("#bucket").selectOption("1");
  const both = data.turns.filter((turn) => turn.random && turn.bucket === 1);
  assert.ok(both.length > 0 && both.length < data.turns.length);
  await found(both.length);
  await page.locator("#kind").selectOption("");
  await page.locator("#bucket").selectOption("");
  const soft = async () => {
    const texts = await items.locator("h3").allTextContents();
    return texts.filter((text) => text.includes("soft")).map((text) => Number(text.split("soft ")[1]));
  };
  const order = page.locator("#order");
  for (const [name, compare] of [
    ["soft", (a, b) => a <= b], ["falling", (a, b) => a >= b],
    ["uncertain", (a, b) => Math.abs(a - 0.5) <= Math.abs(b - 0.5) + 1e-4],
  ]) {
    await order.selectOption(name);
    const numbers = await soft();
    assert.ok(numbers.length > 10 && numbers.every((n, i) => i === 0 || compare(numbers[i - 1], n)), `${name}: ${numbers}`);
  }
  await order.selectOption("place");
  assert.deepEqual(await listed(), data.turns.slice(0, 50).map(id));
  await order.selectOption("uncertain");
  await page.getByRole("button", { name: "Show more" }).click();
  assert.equal(await items.count(), 100);

  // One turn has an address, whatever is listed.
  const first = await listed();
  const far = data.turns.map(id).find((it) => !first.includes(it));
  const linked = page.locator(`li.linked#${far}`);
  const other = await context.newPage();
  await other.goto(`${address}#${far}`);
  await other.locator(`li.linked#${far}`).waitFor();
  await other.waitForFunction((id) => {
    const { top, bottom } = document.getElementById(id).getBoundingClientRect();
    return top < innerHeight && bottom > 0;
  }, far);
  await other.close();
  await page.locator("#search").fill("in no turn at all");
  await page.evaluate((id) => { location.hash = id; }, far);
  await linked.waitFor();
  assert.equal(await page.locator("#search").inputValue(), "");
  const link = page.locator("#list h3 a").first();
  await link.click();
  assert.equal(new URL(page.url()).hash, await link.getAttribute("href"));
  assert.equal(await page.locator("li.linked").count(), 1);
  await page.goto(`${address}#%zz`);
  await page.reload();
  await found(data.turns.length);

  await page.goto(address);
  await page.reload();
  await picture(page, "report");
  await onATelephone(page, "report");

  // A keyboard alone.
  const reached = await tabbed(page);
  const names = new Set(reached.map(({ name }) => name));
  for (const name of ["Skip to the turns", "Table of counts", "Table of splits and buckets", "The same in numbers", "kind", "bucket", "order", "search", "more"]) {
    assert.ok(names.has(name), `${name} is reached: ${[...names]}`);
  }
  assert.equal(reached.filter(({ kind, name }) => kind === "a" && /soft|no label/.test(name)).length, 50);
  await page.locator("summary").focus();
  await page.keyboard.press("Enter");
  await page.locator("details td").first().waitFor();
  await page.locator("#kind").focus();
  await page.keyboard.press("w");
  await found(data.turns.filter((turn) => turn.failed).length);
  await page.locator("#kind").focus();
  await page.keyboard.press("Home");
  await page.locator("#more").focus();
  await page.keyboard.press("Enter");
  assert.equal(await items.count(), 100);
  assert.equal(await page.evaluate(() => document.activeElement.id), (await listed())[50]);
  await page.locator("#search").focus();
  await page.keyboard.type("onerror");
  assert.ok(await items.count() < 50);
  await page.locator("#search").fill("");

  // On paper everything is there, dark on white, and nothing that only a screen has.
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  await page.setViewportSize({ width: 720, height: 1000 });
  await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
  assert.equal(await items.count(), data.turns.length);
  assert.equal(await page.locator("form:visible, button:visible, .skip:visible").count(), 0);
  assert.equal(await page.locator("details:not([open])").count(), 0);
  const paper = await page.evaluate(() => {
    const cut = [...document.querySelectorAll("main *")].filter((it) => {
      const { overflowX, overflowY } = getComputedStyle(it);
      const cuts = (overflow) => overflow !== "visible";
      return cuts(overflowX) && it.scrollWidth > it.clientWidth || cuts(overflowY) && it.scrollHeight > it.clientHeight;
    });
    const { color, backgroundColor } = getComputedStyle(document.body);
    return { color, backgroundColor, cut: cut.map((it) => it.outerHTML.slice(0, 80)), width: document.documentElement.scrollWidth };
  });
  assert.deepEqual(paper, { color: "rgb(27, 31, 36)", backgroundColor: "rgb(255, 255, 255)", cut: [], width: 720 });
  assert.ok((await page.pdf()).length > 10_000);
  assert.deepEqual(await page.evaluate(() => window.refused), [], "the policy refuses nothing of the report's own");
});

// Without scripts there is all but the turns.
await onStage((url) => url === address, async (page, context) => {
  const still = await context.browser().newContext({ javaScriptEnabled: false });
  const without = await still.newPage();
  await without.goto(address);
  await without.getByRole("heading", { name: "Soft labels" }).waitFor();
  assert.ok(await without.locator("svg rect").count() > 10);
  await still.close();
});
