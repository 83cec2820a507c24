// Passkeys: what a page that has a form with data-passkey asks of the browser, before the form is sent.
"use strict";

/** Browsers offer passkeys to pages of a named host, over HTTPS or on this machine. */
function knowsPasskeys() {
  return Boolean(window.PublicKeyCredential && window.isSecureContext) && !/^[\d.]+$|^\[/.test(location.hostname);
}

function bytes(text) {
  const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

function text(buffer) {
  const plain = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function ids(list) {
  return (list || []).map((one) => ({ ...one, id: bytes(one.id) }));
}

/** What the server asks for, in the form that browsers take. */
function unwrapped({ publicKey }) {
  const found = { ...publicKey, challenge: bytes(publicKey.challenge) };
  if (found.user) found.user = { ...found.user, id: bytes(found.user.id) };
  if (found.excludeCredentials) found.excludeCredentials = ids(found.excludeCredentials);
  if (found.allowCredentials) found.allowCredentials = ids(found.allowCredentials);
  return found;
}

/** What the browser answers, in the form that the server takes. */
function wrapped(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = text(credential.response[name]);
  }
  if (credential.response.getTransports) response.transports = credential.response.getTransports();
  return {
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment || undefined,
    clientExtensionResults: credential.getClientExtensionResults(),
    response,
  };
}

async function added(options, isAlone) {
  const publicKey = unwrapped(options);
  publicKey.authenticatorSelection = {
    ...publicKey.authenticatorSelection,
    residentKey: isAlone ? "required" : "discouraged",
    requireResidentKey: isAlone,
    ...(isAlone ? { userVerification: "required" } : {}),
  };
  return navigator.credentials.create({ publicKey });
}

async function asked(form) {
  if (form.dataset.options) return JSON.parse(document.getElementById(form.dataset.options).textContent);
  const answer = await fetch(form.action, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error("The server did not answer.");
  return (await answer.json()).request_options;
}

function said(error) {
  if (error.name === "NotAllowedError") return "The browser gave no passkey: it was cancelled, or took too long.";
  if (error.name === "InvalidStateError") return "This passkey is there already.";
  return `The browser could not do it (${error.name}).`;
}

async function prove(form) {
  const place = form.querySelector("[role=alert]");
  place.hidden = true;
  try {
    const options = await asked(form);
    const credential =
      form.dataset.passkey === "add"
        ? await added(options, Boolean(form.elements.passwordless?.checked))
        : await navigator.credentials.get({ publicKey: unwrapped(options) });
    form.elements.credential.value = JSON.stringify(wrapped(credential));
    form.submit();
  } catch (error) {
    place.textContent = said(error);
    place.hidden = false;
  }
}

document.addEventListener("DOMContentLoaded", () => {
  if (!knowsPasskeys()) return;
  for (const note of document.querySelectorAll("[data-passkey-missing]")) note.hidden = true;
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      prove(form);
    });
  }
});
