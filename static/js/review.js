// The review by keyboard and by swipe. Every action is a form or a link that works without this.
import { typeset } from "./math.js";

const SWIPE = 80; // pixels
const FONTS_WAIT = 1500; // milliseconds that the first card waits for the fonts of its formulas
const study = () => document.getElementById("study");
const byKey = (key) => document.querySelector(`#study [data-key="${CSS.escape(key)}"]`);
let shownAt = performance.now();

const back = () => study().querySelector("details.back");
const isRevealed = () => Boolean(study().querySelector("div.back, details.back[open]"));

function reveal() {
  const details = back();
  if (!details || details.open) return;
  details.open = true;
  suggested()?.focus({ preventScroll: true });
}

function suggested() {
  return study().querySelector("[data-suggested]") ?? byKey("3");
}

function onSpace() {
  if (isRevealed()) (suggested() ?? byKey("n"))?.click();
  else if (back()) reveal();
}

/** Whether keys belong to what has the focus: a text field takes all of them. */
function isTyping(element) {
  return element.matches("textarea, select, input:not([type=checkbox], [type=radio])") || element.isContentEditable;
}

function option(key) {
  return study().querySelectorAll(".answer-form :is([type=radio], [type=checkbox])")[Number(key) - 1];
}

function onKey(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (isTyping(target)) {
    if (key === "Escape") target.blur(); // the keys are the review's again
    return;
  }
  if (key === " ") {
    if (target.closest("a, button, label, input")) return; // the focused one takes it
    event.preventDefault();
    return onSpace();
  }
  if (key === "Enter" && !target.closest("a, button, summary")) {
    return study().querySelector(".answer-form [type=submit]")?.click();
  }
  const found = option(key) ?? byKey(key);
  if (!found || (/^[1-4]$/.test(key) && back() && !isRevealed())) return;
  event.preventDefault();
  found.click();
}

function openKeys(event) {
  const id = event.target.closest("[data-opens]")?.dataset.opens;
  if (id) document.getElementById(id).showModal();
}

let touched = null;
function onTouchStart({ touches, target }) {
  // What scrolls sideways keeps its own gesture.
  const free = touches.length === 1 && target.closest(".study-card") && !target.closest("pre, table, .scroll, div.arithmatex");
  touched = free ? { x: touches[0].clientX, y: touches[0].clientY } : null;
}

function onTouchEnd({ changedTouches }) {
  if (!touched) return;
  const dx = changedTouches[0].clientX - touched.x;
  const dy = changedTouches[0].clientY - touched.y;
  if (Math.abs(dx) < SWIPE || Math.abs(dx) < 2 * Math.abs(dy)) return;
  if (!isRevealed()) reveal();
  else byKey(dx < 0 ? "1" : "3")?.click();
}

/** A card is on the screen: formulas first, in the same frame, so that nothing moves afterwards. */
function onShown() {
  typeset(study());
  for (const button of study().querySelectorAll("[data-opens]")) button.hidden = false;
  shownAt = performance.now();
  const first = study().querySelector("[data-reveal], .answer-form input:not([type=hidden]), [data-suggested]");
  first?.focus({ preventScroll: true });
}

function fail() {
  study().querySelector("[data-failed]").hidden = false;
}

document.addEventListener("keydown", onKey);
document.addEventListener("click", openKeys);
document.addEventListener("touchstart", onTouchStart, { passive: true });
document.addEventListener("touchend", onTouchEnd, { passive: true });
document.addEventListener(
  "submit",
  ({ target }) => {
    const field = target.querySelector("[name=milliseconds]");
    if (field) field.value = Math.round(performance.now() - shownAt);
  },
  true,
);
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const isLogin = new URL(detail.xhr.responseURL).pathname !== detail.pathInfo.requestPath.split("?")[0];
  if (isLogin) {
    detail.shouldSwap = false; // signed out meanwhile: the page itself leads to the form
    location.reload();
  } else if ([409, 422].includes(detail.xhr.status)) {
    detail.shouldSwap = true;
    detail.isError = false;
  }
});
document.addEventListener("htmx:afterSwap", onShown);
document.addEventListener("htmx:sendError", fail);
document.addEventListener("htmx:responseError", fail);

const fonts = ["KaTeX_Main", "italic KaTeX_Math", "KaTeX_Size1", "KaTeX_Size2", "KaTeX_AMS"];
const loaded = Promise.allSettled(fonts.map((font) => document.fonts.load(font.replace("KaTeX", "1em KaTeX"))));
onShown();
await Promise.race([loaded, new Promise((resolve) => setTimeout(resolve, FONTS_WAIT))]);
delete study().dataset.pending;
onShown();
