// The switch of a kit: it moves at once, asks in a dialog where something closes, and goes back when it is refused.
"use strict";

(() => {
  const dialog = () => document.getElementById("kit-dialog");

  /** Put every switch back to what the server said last. */
  function back() {
    for (const form of document.querySelectorAll("form[data-optimistic]")) form.reset();
  }

  document.addEventListener("htmx:response:error", back);
  document.addEventListener("htmx:error", back);

  document.addEventListener("htmx:after:swap", (event) => {
    const box = dialog();
    // A selector, where the server chose it.
    const named = event.detail.ctx.target;
    const target = typeof named === "string" ? document.querySelector(named) : named;
    if (!box || !target) return;
    if (target === box) {
      if (!box.open) box.showModal();
    } else if (target.id === "kit-llm") {
      // The switch was swapped: the dialog has done its work, and the keyboard stays where it was.
      box.close();
      document.getElementById("llm-enabled")?.focus();
    }
  });

  // Closed without a word is no; `close` does not bubble.
  document.addEventListener("close", (event) => {
    if (event.target !== dialog()) return;
    back();
    event.target.replaceChildren();
    document.getElementById("llm-enabled")?.focus();
  }, true);
})();
