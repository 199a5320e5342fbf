"""What a page has to have for people who do not see it, or see little: the checks that a program can make."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Contrast: WCAG 2.2, 1.4.3 and the definition of relative luminance there.
_PROBLEMS = """() => {
  const found = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const say = (element, problem) => found.push(`${problem}: ${element.outerHTML.slice(0, 160)}`);

  if (!document.documentElement.lang) found.push("the page has no language");
  if (!document.title) found.push("the page has no title");
  if (all("main").length !== 1) found.push("there is not one main");
  if (all("h1").filter(shown).length !== 1) found.push("there is not one h1");
  let before = 0;
  for (const heading of all("h1, h2, h3, h4").filter(shown)) {
    const level = Number(heading.tagName[1]);
    if (level > before + 1) say(heading, "a level of headings is left out before");
    before = level;
  }
  const ids = all("[id]").map((element) => element.id);
  for (const id of ids.filter((each, index) => ids.indexOf(each) !== index)) found.push(`two elements are ${id}`);
  for (const name of ["aria-labelledby", "aria-describedby"]) {
    for (const element of all(`[${name}]`)) {
      if (!document.getElementById(element.getAttribute(name))) say(element, `${name} leads nowhere`);
    }
  }
  for (const element of all("a[href], button").filter(shown)) {
    if (!(element.getAttribute("aria-label") || element.textContent).trim()) say(element, "has no name");
  }
  for (const element of all("[tabindex]")) {
    if (element.tabIndex > 0) say(element, "is out of order");
    if (!element.getAttribute("aria-label")) say(element, "gets the focus without a name");
  }
  for (const table of all("table")) {
    if (!table.caption?.textContent) say(table, "has no caption");
    for (const header of table.querySelectorAll("th")) if (!header.scope) say(header, "has no scope");
    for (const header of table.querySelectorAll("thead th")) if (!header.textContent.trim()) say(header, "is empty");
  }

  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [red, green, blue] = numbers(colour).map((each) => each / 255)
      .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if ((numbers(colour)[3] ?? 1) === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  for (const element of all("body *").filter(shown)) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!hasText || element.closest(".unseen, noscript, :disabled")) continue;
    const [lighter, darker] = [getComputedStyle(element).color, behind(element)].map(luminance).sort((a, b) => b - a);
    const ratio = (lighter + 0.05) / (darker + 0.05);
    if (ratio < 4.5) say(element, `has a contrast of ${ratio.toFixed(2)}`);
  }
  return found;
}"""

_OVERFLOWING = """() => [document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth,
  ...[...document.querySelectorAll("section")].map((each) => each.scrollWidth - each.clientWidth)]"""


def problems(page: Page) -> list[str]:
    """Return what is wrong with a page as it is shown now, each with the element."""
    found: list[str] = page.evaluate(_PROBLEMS)
    return found


def overflow(page: Page) -> int:
    """Return by how many pixels a page, or a part of it, is wider than its place; what scrolls by itself is not."""
    return int(max(page.evaluate(_OVERFLOWING)))
