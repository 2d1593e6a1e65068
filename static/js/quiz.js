// Keys of the quiz pages. Everything they do can be done with the forms and links too.
const CERTAINTY_KEYS = { g: "1", f: "2", c: "3" };
const TYPED = "textarea, select, input:not([type=radio], [type=checkbox])";

function choose(number) {
  const boxes = document.querySelectorAll("[data-quiz-form] :is([name=choice], [name=made]):not(:disabled)");
  const box = boxes[number - 1];
  box?.focus();
  box?.click();
}

function chooseCertainty(value) {
  document.querySelector(`[data-quiz-form] [name=certainty][value="${value}"]`)?.click();
}

function goOn(event) {
  if (event.target.closest("a, button, summary")) return; // they have an Enter of their own
  const next = document.querySelector("[data-enter]");
  const form = document.querySelector("[data-quiz-form]");
  event.preventDefault();
  if (next) next.click();
  else form?.requestSubmit(form.querySelector("button.primary"));
}

function toggleKeys() {
  const keys = document.querySelector("[data-keys]");
  if (!keys) return;
  keys.open = !keys.open;
  if (keys.open) keys.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches(TYPED);
  if (event.key === "Escape" && isTyping) event.target.blur();
  if (event.isComposing || event.altKey || event.metaKey) return;
  if (event.key === "Enter" && event.ctrlKey && isTyping) return goOn(event);
  if (isTyping || event.ctrlKey) return;
  if (event.key === "Enter") goOn(event);
  else if (event.key === "?") toggleKeys();
  else if (/^[1-9]$/.test(event.key)) choose(Number(event.key));
  else if (event.key in CERTAINTY_KEYS) chooseCertainty(CERTAINTY_KEYS[event.key]);
});

// A second press of the button must not send the form twice; the server would count it once anyway.
for (const form of document.querySelectorAll("[data-quiz-form]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("[data-sent]")) delete form.dataset.sent;
});
