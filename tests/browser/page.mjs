// Drives a browser through the page that watches runs, as a person would: `node page.mjs PHASE`, where PHASE is
// `empty` (no run yet) or `runs` (runs that wait for an approval). $CHROME is the browser, $APP the app's address,
// $KEY its function key, $PICTURES a folder for screenshots.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const { CHROME, APP, KEY, PICTURES } = process.env;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({ executablePath: CHROME, args: ["--no-sandbox"] });
const context = await browser.newContext({ viewport: { width: 1100, height: 900 }, bypassCSP: true });
// Nothing here waits for long: what takes a minute hangs.
context.setDefaultTimeout(60_000);
const page = await context.newPage();
const foreign = [];
const troubles = [];
page.on("request", (request) => {
  if (!request.url().startsWith(`${APP}/`)) foreign.push(request.url());
  if (request.url().includes(KEY)) foreign.push(`the key in ${request.url()}`);
});
page.on("pageerror", (error) => troubles.push(error.message));
page.on("dialog", (dialog) => { troubles.push(`a dialog of a script: ${dialog.message()}`); dialog.dismiss(); });

const accessible = async (what) => {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  assert.deepEqual(violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join(" ")}`), [], what);
};
const picture = (name) => page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage: true });
const summary = (text) => page.locator("#summary", { hasText: text }).waitFor();
const connect = async () => {
  await page.goto(`${APP}/api/page`);
  await page.getByLabel("Function key").fill(KEY);
  await page.getByRole("button", { name: "Show runs" }).click();
};
const answerYes = () => page.locator("#ask-yes").click();

const phases = {
  async empty() {
    await page.goto(`${APP}/api/page`);
    await accessible("without a key");
    await page.getByLabel("Function key").fill("not the key");
    await page.getByRole("button", { name: "Show runs" }).click();
    await page.getByRole("alert").filter({ hasText: "does not accept this key" }).waitFor();
    await page.getByRole("button", { name: "Forget the key" }).click();
    await connect();
    await summary("There are no runs yet");
    await accessible("without runs");
  },

  async runs() {
    await connect();
    const waiting = page.locator("article", { hasText: "waits for an approval" });
    await waiting.nth(8).waitFor();
    const files = page.locator("h3");
    const first = await files.first().textContent();
    await page.locator("article", { hasText: first }).getByRole("button", { name: "Cancel" }).click();
    await answerYes();
    await page.locator("article", { hasText: first }).filter({ hasText: "was cancelled" }).waitFor();
    await waiting.first().getByRole("button", { name: "Approve" }).click();
    await accessible("while it asks");
    await answerYes();
    await summary("shown have ended");
    await accessible("when all have ended");
    await picture("page");

    const failed = page.getByRole("button", { name: "Relabel failed" });
    const before = await page.locator("article").count();
    await failed.first().click();
    await answerYes();
    await page.locator("article").nth(before).waitFor();
    await summary("shown have ended");

    await page.emulateMedia({ colorScheme: "dark" });
    await accessible("in the dark");
    await page.setViewportSize({ width: 375, height: 800 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
    assert.equal(wide, false, "at 375 px nothing is wider than the screen");
    await picture("page-375-dark");

    // A thousand runs, with names that would be markup.
    const run = (await (await context.request.get(`${APP}/api/runs`, { headers: { "x-functions-key": KEY } })).json()).runs[0];
    const hostile = `<img src=x onerror=alert(1)></script>\u202e${"long".repeat(80)}`;
    const many = Array.from({ length: 1000 }, (_, n) => ({ ...run, run: `r${n}`, dataset: `${hostile}${n % 7}`, file: `train/${hostile}${n}.json`, reason: hostile, state: "complete" }));
    await page.route("**/api/runs*", (route) => route.fulfill({ json: { runs: many, continuation: null } }));
    await page.getByRole("button", { name: "Look now" }).click();
    await page.locator("article").nth(999).waitFor({ state: "attached" });
    assert.equal(await page.locator("main img").count(), 0);
    await summary("All 1,000 runs shown have ended");
  },
};

try {
  await phases[process.argv[2]]();
  assert.deepEqual(foreign, [], "requests to others");
  assert.deepEqual(troubles, [], "errors in the page");
} finally {
  await browser.close();
}
