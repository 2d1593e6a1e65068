// Shows beside every Markdown field of the editors what readers will see. The fields work without it.
import { typeset } from "./math.js";

const settings = document.querySelector("[data-preview-url]")?.dataset;
const PAUSE = 400; // milliseconds without a key before the server is asked
const LONGEST = 200000; // characters; the server refuses more

async function fetchPreview(area, signal) {
  const body = new URLSearchParams({ text: area.value, language: area.dataset.preview });
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  const headers = { "X-CSRFToken": token };
  const response = await fetch(settings.previewUrl, { method: "POST", body, headers, signal });
  return { isGood: response.ok, text: await response.text() };
}

function show(pane, { isGood, text }) {
  pane.classList.toggle("failed", !isGood);
  const parsed = new DOMParser().parseFromString(text, "text/html"); // sanitised by the server; runs no scripts
  pane.replaceChildren(...parsed.body.childNodes);
  typeset(pane);
}

function attach(area) {
  if (area.dataset.attached || area.name.includes("__prefix__")) return;
  area.dataset.attached = "";
  const pane = document.createElement("div");
  pane.className = "preview prose";
  pane.lang = area.lang;
  pane.setAttribute("role", "region");
  pane.setAttribute("aria-label", settings.previewTitle);
  area.after(pane);
  area.parentElement.classList.add("with-preview");
  let timer, running;

  async function refresh() {
    running?.abort();
    running = new AbortController();
    if (area.value.length > LONGEST) return show(pane, { isGood: false, text: `${area.value.length} > ${LONGEST}` });
    try {
      show(pane, area.value.trim() ? await fetchPreview(area, running.signal) : { isGood: true, text: "" });
    } catch (error) {
      if (error.name !== "AbortError") show(pane, { isGood: false, text: settings.previewFailed });
    }
  }

  area.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, PAUSE);
  });
  // Only what is on the screen is asked for: a question with ten choices has fifty fields.
  const seen = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    seen.disconnect();
    refresh();
  });
  seen.observe(area);
}

function attachAll() {
  for (const area of document.querySelectorAll("textarea[data-preview]")) attach(area);
}

if (settings) {
  attachAll();
  document.addEventListener("formset:added", attachAll);
}
