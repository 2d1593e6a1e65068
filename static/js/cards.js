// What stands behind a chip, beside it while the pointer or the keyboard is on it. Escape takes it away.
const CHIP = "a.chip[data-card]";
const PATIENCE = 250; // ms that the pointer rests before the card comes, or is away before it goes

const card = document.createElement("div");
card.id = "claim-card";
card.className = "claim-card";
card.role = "tooltip";
card.popover = "manual";
document.body.append(card);

let shown = null; // the chip whose card is there
let timer = 0;

function place(chip) {
  const box = chip.getBoundingClientRect();
  const room = document.documentElement.clientWidth - card.offsetWidth - 8;
  const below = box.bottom + 6;
  const fits = below + card.offsetHeight < window.innerHeight;
  card.style.left = `${Math.max(8, Math.min(box.left, room))}px`;
  card.style.top = `${fits ? below : Math.max(8, box.top - card.offsetHeight - 6)}px`;
}

async function show(chip) {
  shown = chip;
  await htmx.ajax("GET", `${chip.getAttribute("href")}card/`, { target: card });
  if (shown !== chip || !card.textContent) return; // it was left meanwhile, or there is no network: it still is a link
  chip.removeAttribute("title"); // else the browser shows its own beside the card
  card.showPopover();
  place(chip);
  chip.setAttribute("aria-describedby", card.id);
}

function hide() {
  clearTimeout(timer);
  shown?.removeAttribute("aria-describedby");
  shown = null;
  if (card.matches(":popover-open")) card.hidePopover();
}

function later(act) {
  clearTimeout(timer);
  timer = setTimeout(act, PATIENCE);
}

document.addEventListener("mouseover", (event) => {
  const chip = event.target.closest?.(CHIP);
  if (chip && chip !== shown) later(() => show(chip));
  else if (chip || event.target.closest?.("#claim-card")) clearTimeout(timer);
  else if (shown) later(hide);
  else clearTimeout(timer);
});
document.addEventListener("focusin", (event) => {
  const chip = event.target.closest?.(CHIP);
  if (chip?.matches(":focus-visible")) show(chip);
  else hide();
});
document.addEventListener("focusout", hide);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
});
// Tab scrolls a chip into view; the card follows it.
window.addEventListener("scroll", () => shown && place(shown), { passive: true });
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target !== card) hide();
});
