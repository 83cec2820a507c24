// The playground: streams answers from the data plane by a tenant user's own short-lived token, which lives here alone.
"use strict";

(() => {
  const box = document.getElementById("playground");
  if (!box) return;
  const $ = (id) => document.getElementById(id);
  const ESTIMATE_WAIT_MS = 500;
  // How long a stopped call's charge is asked for, pause by pause; afterwards its own page tells.
  const PAUSES_MS = [500, 1000, 2000, 3000, 5000, 8000, 13000, 20000];
  const SPARE_MS = 30_000;

  const messages = [];
  let session = null;
  let running = null;
  let estimating = 0;

  class Refused extends Error {
    constructor(status, error) {
      super(error.message);
      Object.assign(this, { status, hint: error.hint ?? "", details: error.details ?? {} });
    }
  }

  // The token

  async function posted(url, fields) {
    const form = new FormData($("session"));
    for (const [name, value] of Object.entries(fields)) form.set(name, value);
    return fetch(url, { method: "POST", body: form, headers: { Accept: "application/json" } });
  }

  async function refusalOf(answer) {
    const body = await answer.json().catch(() => ({}));
    return new Refused(answer.status, body.error ?? { message: `The server answered ${answer.status}.` });
  }

  async function token() {
    const user = $("user").value;
    if (session?.user_id === user && Date.parse(session.expires_at) - Date.now() > SPARE_MS) return session.token;
    leave();
    const answer = await posted(box.dataset.begin, { user_id: user });
    if (!answer.ok) throw await refusalOf(answer);
    session = await answer.json();
    return session.token;
  }

  /** End the token; on leaving the page as well, where only a beacon still goes out. */
  function leave() {
    if (!session) return;
    const form = new FormData($("session"));
    form.set("user_id", session.user_id);
    form.set("session_id", session.session_id);
    navigator.sendBeacon(box.dataset.end, form);
    session = null;
  }

  async function call(path, { signal, body } = {}) {
    for (let again = true; ; again = false) {
      const answer = await fetch(`/v1/llm/${path}`, {
        method: body ? "POST" : "GET",
        headers: { Authorization: `Bearer ${await token()}`, ...(body && { "Content-Type": "application/json" }) },
        body: body && JSON.stringify(body),
        signal,
      });
      if (answer.ok) return answer;
      if (answer.status !== 401 || !again) throw await refusalOf(answer);
      session = null; // Revoked elsewhere, or just over: once more with a new one.
    }
  }

  // What is asked

  function request(conversation) {
    const system = $("system").value.trim();
    const fallbacks = $("fallbacks").value.split(",").map((one) => one.trim()).filter(Boolean);
    const [temperature, most] = [$("temperature").value, $("max-tokens").value];
    return {
      model: $("model").value.trim(),
      ...(fallbacks.length && { models: fallbacks }),
      messages: [...(system ? [{ role: "system", content: system }] : []), ...conversation],
      ...(temperature !== "" && { temperature: Number(temperature) }),
      ...(most !== "" && { max_tokens: Number(most) }),
      stream: true,
    };
  }

  /** The conversation up to its last question: what is written, else what was asked last. */
  function asked() {
    const written = $("prompt").value.trim();
    if (written) return [...messages, { role: "user", content: written }];
    const last = messages.findLastIndex((one) => one.role === "user");
    return last < 0 ? [{ role: "user", content: "Say hello." }] : messages.slice(0, last + 1);
  }

  // What is shown: text nodes only, so that nothing a model says is ever markup.

  function element(name, classes = "", text = "") {
    const made = document.createElement(name);
    if (classes) made.className = classes;
    if (text) made.textContent = text;
    return made;
  }

  function link(href, text) {
    const made = element("a", "", text);
    made.href = href;
    return made;
  }

  function turn(role, text) {
    $("turns-empty").hidden = true;
    const item = element("li", `turn is-${role}`);
    const parts = { item, words: document.createTextNode(text), note: element("p", "soft"), thoughts: null };
    const said = element("p", "turn-text");
    said.append(parts.words);
    item.append(element("h3", "", role === "user" ? "You" : $("model").value), said, parts.note);
    $("turns").append(item);
    item.scrollIntoView({ block: "nearest" });
    return parts;
  }

  function think(parts, text) {
    if (!parts.thoughts) {
      const details = element("details", "soft");
      parts.thoughts = document.createTextNode("");
      const said = element("p", "turn-text");
      said.append(parts.thoughts);
      details.append(element("summary", "", "Reasoning"), said);
      parts.item.insertBefore(details, parts.item.children[1]);
    }
    parts.thoughts.appendData(text);
  }

  /** A refusal in the API's own words, and where something can be done about it. */
  function refuse(parts, error) {
    const notice = element("div", "notice is-bad");
    notice.role = "alert";
    const status = error.status ? `${error.status}: ` : "";
    notice.append(element("p", "", status + error.message));
    if (error.hint) notice.append(element("p", "", error.hint));
    const reason = error.details?.reason ?? "";
    const next = element("p");
    if (error.status === 402) next.append(link(box.dataset.billing, "Add credits, or look at what is held"));
    else if (reason.endsWith("_by_kit")) next.append(link($("choice").dataset.kit, "Open the Account Kit"));
    if (next.childNodes.length) notice.append(next);
    parts.item.append(notice);
  }

  /** A number of JSON as it stands there, to the last digit; the parser would make a float of it. */
  function digits(raw, name) {
    const found = new RegExp(`"${name}"\\s*:\\s*(-?[0-9][0-9.eE+-]*)`).exec(raw)?.[1];
    if (found === undefined || !/e/i.test(found)) return found;
    const [, sign, whole, part = "", power] = /^(-?)(\d+)(?:\.(\d+))?e([+-]?\d+)$/i.exec(found) ?? [];
    if (power === undefined) return found;
    const all = whole + part, place = whole.length + Number(power);
    if (place >= all.length) return sign + all.padEnd(place, "0");
    return place > 0 ? `${sign}${all.slice(0, place)}.${all.slice(place)}` : `${sign}0.${"0".repeat(-place)}${all}`;
  }

  function costs(note, facts, id) {
    const said = [
      facts.credits === undefined ? "" : `${facts.credits} credits`,
      facts.usd === undefined ? "" : `$${facts.usd} upstream`,
      facts.tokensIn === undefined ? "" : `${facts.tokensIn} → ${facts.tokensOut ?? 0} tokens`,
      facts.firstMs === undefined ? "" : `first token ${Math.round(facts.firstMs)} ms`,
    ].filter(Boolean);
    note.replaceChildren(said.join(" · "));
    if (id) note.append(said.length ? " · " : "", link(`${box.dataset.generations}${id.replace(/^gen_/, "")}/`, "Details"));
  }

  // One answer

  async function* events(answer) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      rest += value ?? "";
      const lines = rest.split(/\r\n|\n|\r/);
      rest = done ? "" : lines.pop();
      yield* lines;
      if (done) return;
    }
  }

  function take(line, parts, facts, began) {
    if (line.startsWith(":")) {
      facts.credits = digits(line, "credits_used") ?? facts.credits;
      return;
    }
    if (!line.startsWith("data:") || line.includes("[DONE]")) return;
    const raw = line.slice(5), frame = JSON.parse(raw);
    const delta = frame.choices?.[0]?.delta ?? {};
    if (delta.reasoning) think(parts, delta.reasoning);
    if (delta.content) {
      facts.firstMs ??= performance.now() - began;
      parts.words.appendData(delta.content);
    }
    if (frame.usage) {
      facts.usd = digits(raw, "cost") ?? facts.usd;
      facts.tokensIn = frame.usage.prompt_tokens;
      facts.tokensOut = frame.usage.completion_tokens;
    }
    if (frame.error) throw Object.assign(new Error(frame.error.message), { status: frame.error.code });
  }

  async function converse(conversation) {
    const facts = {}, began = performance.now();
    const parts = turn("assistant", "");
    let id = "";
    running = new AbortController();
    busy(true);
    try {
      parts.note.textContent = "Waiting for the first token…";
      const answer = await call("chat/completions", { signal: running.signal, body: request(conversation) });
      id = answer.headers.get("X-Naive-Generation-Id") ?? "";
      for await (const line of events(answer)) take(line, parts, facts, began);
    } catch (error) {
      if (error.name !== "AbortError") refuse(parts, error);
      else if (!id) parts.note.textContent = "Stopped before the call had begun.";
    } finally {
      running = null;
      busy(false);
    }
    if (id && facts.credits !== undefined) costs(parts.note, facts, id);
    else if (id) settle(parts.note, facts, id);
    else if (parts.note.textContent.startsWith("Waiting")) parts.note.textContent = "";
    return parts.words.data;
  }

  /** What a call cost that ended early is known once upstream says so. */
  async function settle(note, facts, id) {
    note.textContent = "Stopped. What was made so far is being settled…";
    for (const pause of PAUSES_MS) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      const raw = await call(`generation?id=${encodeURIComponent(id)}`).then((answer) => answer.text(), () => "");
      if (!/"state"\s*:\s*"(settled|voided)"/.test(raw)) continue;
      facts.credits = digits(raw, "credits_used") ?? "0";
      facts.usd = digits(raw, "total_cost") ?? facts.usd;
      facts.tokensIn = digits(raw, "native_tokens_prompt") ?? facts.tokensIn;
      facts.tokensOut = digits(raw, "native_tokens_completion") ?? facts.tokensOut;
      costs(note, facts, id);
      note.prepend("Stopped · ");
      return;
    }
    note.replaceChildren("Stopped. It is settled within minutes: ", link(`${box.dataset.generations}${id.replace(/^gen_/, "")}/`, "Details"));
  }

  function busy(is) {
    $("send").disabled = is;
    $("stop").hidden = !is;
    $("turns").setAttribute("aria-busy", String(is));
  }

  async function send() {
    const content = $("prompt").value.trim();
    if (!content || running || $("send").disabled) return;
    const question = { role: "user", content };
    const parts = turn("user", content);
    $("prompt").value = "";
    $("estimate").textContent = "";
    const answer = await converse([...messages, question]);
    if (answer) messages.push(question, { role: "assistant", content: answer });
    else {
      // Nothing came of it: the question can be changed and sent again.
      parts.item.classList.add("is-unanswered");
      $("prompt").value ||= content;
    }
    $("prompt").focus();
  }

  // What it would cost

  async function estimate() {
    const mine = ++estimating;
    if (!$("prompt").value.trim() || running || $("send").disabled) return;
    try {
      const raw = await (await call("estimate", { body: request(asked()) })).text();
      if (mine !== estimating || running) return;
      const told = JSON.parse(raw);
      if (!told.allowed) $("estimate").textContent = told.refusal?.message ?? "It would be refused.";
      else if (!told.price_known) $("estimate").textContent = `Its price is not known beforehand; ${digits(raw, "hold_credits")} credits would be held.`;
      else $("estimate").textContent = `At most ${digits(raw, "worst_case_credits")} credits ($${digits(raw, "worst_case_cost_usd")}); ${digits(raw, "hold_credits")} held at first.`;
    } catch (error) {
      if (mine === estimating) $("estimate").textContent = `${error.message} ${error.hint ?? ""}`.trim();
    }
  }

  let waiting;
  const soon = () => {
    clearTimeout(waiting);
    estimating++;
    if (!$("prompt").value.trim()) $("estimate").textContent = "";
    else waiting = setTimeout(estimate, ESTIMATE_WAIT_MS);
  };

  // As code

  const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const indented = (value, by) => JSON.stringify(value, null, by).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
  const CODE = {
    curl: (body, base, user) => [
      `curl -N ${base}/v1/llm/chat/completions \\`,
      `  -H "Authorization: Bearer $NAIVE_API_KEY" \\`,
      `  -H "X-Naive-User-Id: ${user}" \\`,
      `  -H "Content-Type: application/json" \\`,
      `  -d ${shell(indented(body, 2))}`,
    ].join("\n"),
    python: ({ models, stream, ...body }, base, user) => [
      "import os",
      "",
      "from openai import OpenAI",
      "",
      `client = OpenAI(base_url="${base}/v1/llm", api_key=os.environ["NAIVE_API_KEY"])`,
      "stream = client.chat.completions.create(",
      ...Object.entries(body).map(([name, value]) => `    ${name}=${indented(value, 4).replaceAll("\n", "\n    ")},`),
      "    stream=True,",
      `    extra_headers={"X-Naive-User-Id": "${user}"},`,
      ...(models ? [`    extra_body={"models": ${JSON.stringify(models)}},`] : []),
      ")",
      "for chunk in stream:",
      "    if chunk.choices:",
      '        print(chunk.choices[0].delta.content or "", end="", flush=True)',
    ].join("\n"),
    typescript: ({ models, ...body }, base, user) => [
      'import OpenAI from "openai";',
      "",
      `const client = new OpenAI({ baseURL: "${base}/v1/llm", apiKey: process.env.NAIVE_API_KEY });`,
      "const stream = await client.chat.completions.create(",
      "  {",
      ...(models ? [`    ...({ models: ${JSON.stringify(models)} } as object),`] : []),
      ...Object.entries(body).map(([name, value]) => `    ${name}: ${indented(value, 2).replaceAll("\n", "\n    ")},`),
      "  },",
      `  { headers: { "X-Naive-User-Id": "${user}" } },`,
      ");",
      'for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");',
    ].join("\n"),
  };

  function write(language) {
    const text = CODE[language](request(asked()), box.dataset.base, $("user").value);
    $("code-text").textContent = $("code-copy").dataset.copy = text;
    for (const one of document.querySelectorAll("[data-language]")) one.ariaPressed = String(one.dataset.language === language);
  }

  // The page

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-playground], [data-language]");
    if (target?.dataset.language) write(target.dataset.language);
    if (target?.dataset.playground === "code") {
      write("curl");
      $("code").showModal();
    }
    if (target?.dataset.playground === "clear") {
      running?.abort();
      messages.length = 0;
      $("turns").replaceChildren();
      $("turns-empty").hidden = false;
    }
  });
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  $("stop").addEventListener("click", () => running?.abort());
  $("setup").addEventListener("submit", (event) => event.preventDefault());
  $("prompt").addEventListener("input", soon);
  $("setup").addEventListener("change", soon);
  addEventListener("pagehide", leave);
})();
