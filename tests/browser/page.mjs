// Drives a browser through the page that watches runs, as a person would: `node page.mjs PHASE`, where PHASE is
// `empty` (an app without a run), `runs` (runs that wait for an approval) or `command` (a command that labels). $PAGE is
// the page's address, $KEY the key to type, or the token in the address. $SERVICE is what labels: slowly, until it was seen.

import assert from "node:assert/strict";
import { accessible, fits, onATelephone, onStage, picture, tabbed } from "./stage.mjs";

const { PAGE, KEY, SERVICE, PICTURES } = process.env;
const origin = new URL(PAGE).origin;
// A report is shown under an address that is made in the page.
const isOwn = (url) => !url.slice(origin.length).includes(KEY) && (url.startsWith(`${origin}/`) || url.startsWith(`blob:${origin}/`));

const phases = {
  async empty(page) {
    const { connect, summary } = acts(page);
    await page.goto(PAGE);
    await accessible(page, "without a key");
    await page.getByLabel("Function key").fill("not the key");
    let asked = 0;
    page.on("request", (request) => { asked += Number(request.url().includes("/runs")); });
    await page.getByRole("button", { name: "Show runs" }).click();
    await page.getByRole("alert").filter({ hasText: "This key is not accepted" }).waitFor();
    await later(page);
    assert.equal(asked, 1, "a wrong key is not tried again and again");
    await page.getByRole("button", { name: "Forget the key" }).click();
    await connect();
    await summary("There are no runs yet");
    await accessible(page, "without runs");
  },

  async runs(page, context) {
    const { connect, summary, run, yes } = acts(page);
    await connect();
    const waiting = page.locator("article", { hasText: "waits for an approval" });
    await waiting.nth(8).waitFor();
    const first = await page.locator("h3").first().textContent();
    await run(first).getByRole("button", { name: "Cancel" }).click();
    // Nothing is sent before it was asked.
    await page.getByRole("button", { name: "Leave it" }).click();
    await run(first).filter({ hasText: "waits for an approval" }).waitFor();
    await run(first).getByRole("button", { name: "Cancel" }).click();
    await yes();
    await run(first).filter({ hasText: "was cancelled" }).waitFor();
    assert.equal(await run(first).getByRole("button").count(), 0);
    await waiting.first().getByRole("button", { name: "Approve" }).click();
    await accessible(page, "while it asks");
    await yes();
    // As it is labelled: two bars, the rate against the quota, the time left.
    const labelled = page.locator("article", { hasText: "is being labelled" });
    await labelled.filter({ hasText: "turns a second" }).first().waitFor();
    const rates = page.locator("#rates", { hasText: /: [\d,]+ of [\d,]+ tokens a minute \(\d+ %\), [\d,]+ of [\d,]+ requests/ });
    await rates.waitFor();
    await labelled.filter({ hasText: /about .* left/ }).first().waitFor();
    await labelled.filter({ hasText: /answered 429 [\d,]+ times?/ }).first().waitFor();
    assert.equal(await labelled.filter({ has: page.locator(".histogram") }).first().locator("progress").count(), 2);
    await hurry();
    await summary("shown have ended");
    await page.getByText(/USD of at most [\d.]+ USD spent/).waitFor();
    await accessible(page, "when all have ended");
    await picture(page, "page");
    // For the README, under a usual name.
    await page.locator("h2").first().evaluate((name) => { name.textContent = "devchat"; });
    await picture(page, "readme/page", false);

    // When all have ended nobody is asked any more, nor while nobody looks.
    let asked = 0;
    page.on("request", (request) => { asked += Number(request.url().includes("/runs?")); });
    await later(page);
    assert.equal(asked, 0, "the page goes on asking when all runs have ended");

    // Which turns have no label, without what was said in them.
    const failing = page.locator("article", { hasText: "Without a label" }).filter({ hasText: "transient" }).first();
    await failing.locator("summary").click();
    await failing.getByText(/transient: conversation \S+, message \S+/).first().waitFor();

    // The report, in a frame that has no part in the page.
    const theReport = page.getByRole("button", { name: "Report", exact: true });
    const frame = page.frameLocator("#report iframe");
    // The timer writes it when the last run has ended.
    for (let tries = 0; tries < 60 && !(await page.locator("#report").isVisible()); tries += 1) {
      await theReport.first().click();
      await page.waitForTimeout(500);
    }
    await frame.locator("#list > li").nth(5).waitFor();
    await frame.locator("#kind").selectOption("failed");
    await frame.locator("#found", { hasText: " of " }).waitFor();
    const link = frame.locator("#list h3 a").first();
    await link.click();
    await frame.locator("li.linked").waitFor();
    const inside = page.frames().find((it) => it.url().startsWith("blob:"));
    const reach = await inside.evaluate(() => {
      try { return String(sessionStorage.length); } catch (error) { return error.name; }
    });
    assert.equal(reach, "SecurityError");
    await picture(page, "page-report", false);
    const saved = page.waitForEvent("download");
    await page.getByRole("button", { name: "Save" }).click();
    assert.match((await saved).suggestedFilename(), /report\.html$/);
    await page.keyboard.press("Escape");
    await page.locator("#report").waitFor({ state: "hidden" });

    const before = await page.locator("article").count();
    await page.getByRole("button", { name: "Relabel failed" }).first().click();
    await yes();
    await page.locator("article").nth(before).waitFor();
    await summary("shown have ended");
    await onATelephone(page, "page");

    const reached = await tabbed(page);
    const names = reached.map(({ name }) => name);
    for (const name of ["dataset", "refresh", "forget", "Report"]) assert.ok(names.includes(name), `${name}: ${names}`);

    // While nobody looks nobody is asked, though a run goes on.
    const answer = await (await context.request.get(`${origin}/api/runs`, { headers: { "x-functions-key": KEY } })).json();
    const going = { ...answer.runs[0], state: "labeling" };
    await page.route("**/api/runs?*", (route) => route.fulfill({ json: { ...answer, runs: [going] } }));
    await page.getByRole("button", { name: "Look now" }).click();
    await summary("1 run under way");
    await page.evaluate(() => Object.defineProperty(document, "hidden", { configurable: true, get: () => true }));
    await later(page);
    asked = 0;
    await later(page);
    assert.equal(asked, 0, "the page asks though nobody looks");
    await page.evaluate(() => { delete document.hidden; document.dispatchEvent(new Event("visibilitychange")); });
    await later(page);
    assert.ok(asked > 1, "the page asks again when somebody looks");
    await page.unroute("**/api/runs?*");

    // Names that would be markup; then a thousand runs of them, which the page draws in a moment, but axe-core does not.
    const hostile = `<img src=x onerror=alert(1)></script>\u202e${"long".repeat(80)}`;
    const many = Array.from({ length: 1000 }, (_, n) => ({ ...answer.runs[0], run: `r${n}`, dataset: `${hostile}${n % 7}`, file: `train/${hostile}${n}.json`, reason: hostile, state: "complete" }));
    const show = async (runs) => {
      await page.route("**/api/runs?*", (route) => route.fulfill({ json: { ...answer, runs, continuation: null } }));
      await page.getByRole("button", { name: "Look now" }).click();
      await summary(`All ${runs.length.toLocaleString("en")} runs shown have ended`);
      assert.equal(await page.locator("article").count(), runs.length);
      assert.equal(await page.locator("main img").count(), 0);
    };
    await show(many.slice(0, 20));
    await onATelephone(page, "page-hostile");
    const began = Date.now();
    await show(many);
    console.log(`1,000 runs are drawn after ${Date.now() - began} ms`);
    await page.setViewportSize({ width: 375, height: 800 });
    await fits(page, "1,000 runs");
  },

  async command(page) {
    const { summary } = acts(page);
    await page.goto(PAGE);
    // The token is nowhere in the address any more.
    await page.waitForFunction(() => location.hash === "");
    const article = page.locator("article").first();
    await article.filter({ hasText: "is being labelled" }).filter({ has: page.locator(".histogram") }).waitFor();
    assert.equal(await article.locator("progress").count(), 2);
    await accessible(page, "a command that labels");
    await hurry();
    // What only the app does is not offered.
    const buttons = await page.locator("button:visible").allTextContents();
    assert.deepEqual(buttons.filter((text) => text !== "Report"), ["Look now"]);
    await summary("The command has ended");
    // The report stays when the program is gone.
    await untilGone();
    await page.getByRole("button", { name: "Report", exact: true }).click();
    await page.frameLocator("#report iframe").locator("#list > li").first().waitFor();
    await picture(page, "command", false);
    // For the README: the report without the window around it, down to the histogram.
    await page.setViewportSize({ width: 1100, height: 1300 });
    const { x, y, width } = await page.locator("#report iframe").boundingBox();
    await page.screenshot({ path: `${PICTURES}/readme/report.png`, clip: { x, y: y + 6, width, height: 1160 } });
  },
};

// Time passes, twice as much as the page waits between two looks; then what is asked is under way.
const later = async (page) => {
  for (let looks = 0; looks < 2; looks += 1) {
    await page.clock.fastForward(4_500);
    await page.waitForTimeout(300);
  }
};

// What labels need not be slow any more: runs were seen under way.
const hurry = async () => {
  const answer = await fetch(new URL("/_double/config", SERVICE), { method: "PATCH", body: JSON.stringify({ latency: { kind: "none" } }) });
  assert.ok(answer.ok, await answer.text());
};

// Waits until nothing answers at the page's address.
const untilGone = async () => {
  for (;;) {
    try { await fetch(origin); } catch { return; }
    await new Promise((done) => setTimeout(done, 50));
  }
};

const acts = (page) => ({
  summary: (text) => page.locator("#summary", { hasText: text }).waitFor(),
  run: (file) => page.locator("article").filter({ has: page.getByRole("heading", { name: file, exact: true }) }),
  yes: () => page.locator("#ask-yes").click(),
  async connect() {
    await page.goto(PAGE);
    await page.getByLabel("Function key").fill(KEY);
    await page.getByRole("button", { name: "Show runs" }).click();
  },
});

await onStage(isOwn, async (page, context) => {
  await page.clock.install();
  await phases[process.argv[2]](page, context);
});
