// A browser in which a page is tried as a person uses it, and what is noticed on the way. $CHROME is the browser,
// $PICTURES a folder for screenshots. The pages' own policies hold: nothing is bypassed.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const { CHROME, PICTURES } = process.env;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// Calls `act` with a page. `isOwn` says of an address whether the page may ask it.
export const onStage = async (isOwn, act) => {
  const browser = await chromium.launch({ executablePath: CHROME, args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width: 1100, height: 900 } });
  // Longer than anything here takes, even on a busy machine.
  context.setDefaultTimeout(600_000);
  const noticed = [];
  context.on("request", (request) => {
    if (!isOwn(request.url())) noticed.push(`a request to ${request.url()}`);
  });
  context.on("weberror", (error) => noticed.push(`an error of a script: ${error.error().message}`));
  context.on("dialog", (dialog) => { noticed.push(`a dialog of a script: ${dialog.message()}`); dialog.dismiss(); });
  context.on("console", (message) => {
    // An answer that is no 200 is told here, too; what it is about is tried where it is wanted.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) noticed.push(message.text());
  });
  try {
    await act(await context.newPage(), context, noticed);
    assert.deepEqual(noticed, [], "nothing is noticed that should not be");
  } finally {
    await browser.close();
  }
};

// Whether people can use it who see, hear or move otherwise, as far as axe-core can tell.
export const accessible = async (page, what) => {
  await page.evaluate(axe);
  // What is all right would be more than the page itself.
  const violations = await page.evaluate(async () => (await window.axe.run({ resultTypes: ["violations"] })).violations);
  assert.deepEqual(violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join(" ")}`), [], what);
};

export const picture = (page, name, fullPage = true) => page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage });

export const fits = async (page, name) => {
  const widths = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.ok(widths[0] <= widths[1], `nothing of ${name} is wider than the screen: ${widths}`);
};

// Nothing is wider than the screen of a telephone, and the page is usable there in the dark.
export const onATelephone = async (page, name) => {
  const size = page.viewportSize();
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible(page, `${name} in the dark`);
  await page.setViewportSize({ width: 375, height: 800 });
  await fits(page, name);
  await accessible(page, `${name} at 375 px`);
  await picture(page, `${name}-375-dark`, false);
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(size);
};

// Goes through the page with the tab key alone, and gives what was focused, each once. Each is seen to be focused.
export const tabbed = async (page) => {
  // From the top.
  await page.evaluate(() => {
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
  });
  const reached = [];
  for (;;) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const focused = document.activeElement;
      if (!focused || focused === document.body || focused.dataset.tabbed) return null;
      focused.dataset.tabbed = "yes";
      const { outlineStyle, outlineWidth } = getComputedStyle(focused);
      const box = focused.getBoundingClientRect();
      return {
        name: focused.id || focused.getAttribute("aria-label") || focused.textContent.trim(),
        kind: focused.localName,
        seen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && box.width > 0 && box.left >= 0,
      };
    });
    if (!at) break;
    assert.ok(at.seen, `the focus on ${at.kind} ${at.name} is seen`);
    reached.push(at);
  }
  await page.evaluate(() => document.querySelectorAll("[data-tabbed]").forEach((it) => delete it.dataset.tabbed));
  return reached;
};
