// Typesets the formulas that the server marked with class "arithmatex": \(…\) in a line, \[…\] on their own.
const OPTIONS = { trust: false, throwOnError: false, maxExpand: 300 };

export function typeset(root) {
  for (const element of root.querySelectorAll(".arithmatex:not([data-typeset])")) {
    const source = element.textContent.trim();
    const formula = source.replace(/^\\[([]|\\[)\]]$/g, "");
    element.dataset.typeset = "";
    katex.render(formula, element, { ...OPTIONS, displayMode: source.startsWith("\\[") });
    if (element.tagName === "DIV") element.tabIndex = 0; // a wide formula scrolls: let the keyboard reach it
  }
}

typeset(document);
document.addEventListener("htmx:load", (event) => typeset(event.detail.elt.parentNode ?? document));
