// Before the first paint: what looks otherwise without scripts is drawn right at once, and nothing jumps.
document.documentElement.classList.add("has-script");
