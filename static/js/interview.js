// The interview's clock, and drafts that are saved while they are typed. Everything works without it; quiz.js has the keys.

// Clock: only shows. What counts is the server's, and nothing is ever cut off.
const clock = document.querySelector("[data-clock]");

function inMinutes(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

if (clock) {
  const began = Date.now() - Number(clock.dataset.elapsed);
  const allowed = 1000 * Number(clock.dataset.allowed);
  const time = clock.querySelector("[data-clock-time]");
  const over = clock.querySelector("[data-clock-over]");
  setInterval(() => {
    const spent = Date.now() - began;
    time.textContent = inMinutes(spent);
    over.hidden = spent <= allowed;
    clock.classList.toggle("is-over", spent > allowed);
  }, 500);
}

// Drafts
const form = document.querySelector("form[data-answer]");
const PAUSE = 700; // milliseconds without a key before what is typed is saved
const AGAIN = 5000; // before a save that failed is tried again

function saveDraftsOf(form) {
  const state = form.querySelector("[data-draft-state]");
  const text = (name) => form.querySelector(`template[data-draft-${name}]`).content.textContent;
  let timer;
  let isSent = false;
  let saved = Promise.resolve(); // one after the other, so that an older text never overwrites a newer one

  async function save() {
    if (isSent) return;
    const body = new URLSearchParams(new FormData(form));
    try {
      const response = await fetch(form.dataset.draftUrl, { method: "POST", body, keepalive: true });
      const isTemporary = response.status >= 500;
      state.textContent = response.ok ? text("saved") : isTemporary ? text("failed") : await response.text();
      if (isTemporary) schedule(AGAIN);
    } catch {
      state.textContent = text("failed");
      schedule(AGAIN);
    }
  }

  function schedule(pause) {
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = undefined;
      saved = saved.then(save);
    }, pause);
  }

  function saveNow() {
    if (timer === undefined) return;
    clearTimeout(timer);
    timer = undefined;
    save();
  }

  form.addEventListener("input", () => schedule(PAUSE));
  form.addEventListener("submit", () => {
    isSent = true;
    clearTimeout(timer);
  });
  document.addEventListener("visibilitychange", () => document.hidden && saveNow());
  addEventListener("pagehide", saveNow);
}

if (form) saveDraftsOf(form);

// The first thing to do has the focus, without scrolling to it on a phone.
if (!matchMedia("(pointer: coarse)").matches) {
  form?.querySelector("textarea, input:not([type=hidden]), select")?.focus();
}
