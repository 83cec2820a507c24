// What pages do beyond their HTML: copying, toasts, the drawer, dialogs, the palette, local times. Pages work without it.
"use strict";

const TOAST_MS = 8000;

/** Say something in the corner; `kind` is success, warning or error. */
function toast(text, kind = "success") {
  const box = document.createElement("div");
  box.className = `toast is-${kind}`;
  const words = document.createElement("p");
  words.textContent = text;
  box.append(words);
  document.getElementById("toasts")?.append(box);
  fade(box);
}

function fade(box) {
  if (!box.classList.contains("is-error")) setTimeout(() => box.remove(), TOAST_MS);
}

/** Write instants in the reader's own time, where they chose so; the UTC one stays as the title. */
function localise(root) {
  if (document.documentElement.dataset.clock !== "local") return;
  for (const time of root.querySelectorAll("time[datetime*='T']")) {
    if (time.title) continue;
    time.title = `${time.textContent} UTC`;
    time.textContent = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  }
}

document.addEventListener("click", async (event) => {
  const target = event.target instanceof Element ? event.target : null;
  const copy = target?.closest("[data-copy]");
  if (copy) {
    try {
      await navigator.clipboard.writeText(copy.dataset.copy);
      toast("Copied.");
    } catch {
      toast("The browser did not let us copy: select the text instead.", "error");
    }
  }
  target?.closest("[data-dismiss]")?.closest(".toast")?.remove();
  if (target?.closest("[data-closes]")) target.closest("dialog")?.close();
  const opener = target?.closest("[data-opens]");
  if (opener) {
    event.preventDefault();
    document.getElementById(opener.dataset.opens)?.showModal();
  }
  // A click beside a dialog closes it.
  if (target instanceof HTMLDialogElement && target.open) target.close();
  const all = target?.closest("[data-select-all]");
  if (all) for (const box of document.getElementsByName(all.dataset.selectAll)) box.checked = all.checked;
  for (const open of document.querySelectorAll("details.popover[open]")) if (!open.contains(target)) open.open = false;
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
});

document.addEventListener("keydown", (event) => {
  if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k") {
    const palette = document.getElementById("palette");
    if (palette) {
      event.preventDefault();
      palette.showModal();
    }
  }
});

document.addEventListener("DOMContentLoaded", () => {
  localise(document);
  // Of tabs that are wider than a phone, the chosen one is seen.
  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  for (const box of document.querySelectorAll(".toast")) fade(box);
});

// What htmx brings: a drawer opens with its content, times are told, a failed request is said.
document.addEventListener("htmx:after:swap", () => {
  localise(document);
  for (const box of document.querySelectorAll(".toast")) fade(box);
});
// After a swap, it is the link that htmx names; once what came has settled, its place.
document.addEventListener("htmx:after:settle", (event) => {
  const drawer = document.getElementById("drawer");
  if (drawer && drawer === event.target && drawer.childElementCount && !drawer.open) drawer.showModal();
});
document.addEventListener("htmx:error", () => toast("The server could not be reached. Nothing was changed.", "error"));

document.addEventListener("alpine:init", () => {
  const Alpine = window.Alpine;
  Alpine.data("menu", () => ({
    isOpen: false,
    toggle() { this.isOpen = !this.isOpen; },
    shown() { return this.isOpen ? "is-open" : ""; },
  }));
  Alpine.data("palette", () => ({
    wanted: "",
    at: 0,
    init() { this.$watch("wanted", () => this.filter()); this.filter(); },
    options() { return [...this.$root.querySelectorAll("li")].filter((one) => !one.hidden); },
    filter() {
      const words = this.wanted.toLowerCase().split(/\s+/).filter(Boolean);
      for (const one of this.$root.querySelectorAll("li")) one.hidden = !words.every((word) => one.dataset.words.includes(word));
      this.at = 0;
      this.mark();
    },
    mark() { this.options().forEach((one, place) => one.setAttribute("aria-selected", String(place === this.at))); },
    move(event) {
      const options = this.options();
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        this.at = (this.at + (event.key === "ArrowDown" ? 1 : options.length - 1)) % Math.max(options.length, 1);
        this.mark();
      } else if (event.key === "Enter") {
        event.preventDefault();
        options[this.at]?.querySelector("a").click();
      }
    },
    reset() { this.wanted = ""; },
  }));
});
