// Lists the rows that are embedded in this page as JSON. Whatever a model wrote becomes text, never markup.

const held = JSON.parse(document.getElementById("rows-json").textContent);
const rows = held.rows;
const STEP = 100;
const shown = { rows: [], listed: 0, open: -1, sort: null, down: false };
const wanted = { text: "", status: null, groups: new Map(), scores: new Map() };

// ---------------------------------------------------------------- elements

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined && text !== null) element.textContent = text;
  return element;
}

function byId(id) { return document.getElementById(id); }

function seconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toPrecision(3)} s`;
}

function number(value) {
  if (value === null || value === undefined) return "–";
  return Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(4);
}

function percent(logprob) {
  const share = 100 * Math.exp(logprob);
  return share >= 99.95 ? "100 %" : share < 0.1 ? "< 0.1 %" : `${share.toPrecision(3)} %`;
}

function badge(status) {
  const element = make("span", "badge");
  element.append(make("span", `key is-${status}`), status.replace("_", " "));
  return element;
}

// ---------------------------------------------------------------- columns

function score(row, place) { return row.scores ? row.scores[place][0] : null; }

function answerOf(row) {
  return row.continuation ?? row.answer ?? row.refusal ?? row.calls ?? row.message ?? row.audio ?? row.reasoning ?? "";
}

const columns = [
  { name: "sample", width: "w-id", of: (row) => label(row) },
  { name: "status", width: "w-status", of: (row) => row.status, node: (row) => badge(row.status) },
  ...held.scores.slice(0, 3).map((name, place) => ({ name, width: "w-n", number: true, of: (row) => score(row, place) })),
  { name: "answer", of: (row) => answerOf(row).slice(0, 300) },
  ...(rows.some((row) => row.target !== undefined) ? [{ name: "target", width: "w-target", of: (row) => (row.target ?? "").slice(0, 200) }] : []),
  ...(rows.some((row) => row.likelihood !== null) ? [{ name: "log-likelihood", width: "w-n", number: true, of: (row) => row.likelihood }] : []),
  { name: "latency", width: "w-n", number: true, of: (row) => row.s[0], show: seconds },
  { name: "tokens", width: "w-n", number: true, of: (row) => row.usage[1] },
];

const repeated = rows.some((row) => row.repeat > 0), chosen = rows.some((row) => row.choice > 0);

function label(row) {
  return row.id + (repeated ? ` · repeat ${row.repeat}` : "") + (chosen ? ` · choice ${row.choice}` : "");
}

// ---------------------------------------------------------------- filters

function searchable(row) {
  row.search ??= [row.id, row.answer, row.reasoning, row.refusal, row.calls, row.target, row.message, row.note, row.error,
    row.continuation, ...row.inputs, ...row.prompt.map((one) => one[1]), ...row.retrieved.map((one) => `${one[1]} ${one[3]}`)]
    .filter(Boolean).join("\n").toLowerCase();
  return row.search;
}

function passes(row) {
  if (wanted.status !== null && row.status !== wanted.status) return false;
  for (const [column, value] of wanted.groups) if (row.inputs[column] !== value) return false;
  for (const [place, value] of wanted.scores) if (String(score(row, place)) !== value) return false;
  return wanted.text === "" || searchable(row).includes(wanted.text);
}

function compare(one, other) {
  if (one === other) return 0;
  if (one === null || one === undefined || one === "") return 1;
  if (other === null || other === undefined || other === "") return -1;
  const order = typeof one === "number" ? one - other : String(one).localeCompare(String(other), "en", { numeric: true });
  return shown.down ? -order : order;
}

function update() {
  shown.rows = rows.filter(passes);
  if (shown.sort !== null) {
    const { of } = columns[shown.sort];
    shown.rows = shown.rows.map((row) => [of(row), row]).sort((one, other) => compare(one[0], other[0])).map((pair) => pair[1]);
  }
  shown.listed = 0;
  byId("table").tBodies[0].replaceChildren();
  byId("count").textContent = `${number(shown.rows.length)} of ${number(rows.length)}`;
  list();
}

// ---------------------------------------------------------------- the table

function list() {
  const body = byId("table").tBodies[0], fragment = document.createDocumentFragment();
  const end = Math.min(shown.listed + STEP, shown.rows.length);
  for (let place = shown.listed; place < end; place += 1) fragment.append(line(shown.rows[place], place));
  body.append(fragment);
  shown.listed = end;
  byId("more").textContent = shown.rows.length === 0 ? "No row is like this." : end < shown.rows.length ? "…" : "";
}

function line(row, place) {
  const element = make("tr");
  element.tabIndex = 0;
  element.dataset.place = place;
  for (const column of columns) {
    const value = column.of(row), cell = make("td", column.number ? "n" : "");
    if (column.node) cell.append(column.node(row));
    else cell.textContent = column.number ? (column.show ?? number)(value) : value;
    if (!column.number) cell.dir = "auto";
    element.append(cell);
  }
  return element;
}

function head() {
  const line = byId("table").tHead.rows[0];
  columns.forEach((column, place) => {
    const cell = make("th", `${column.width ?? ""} ${column.number ? "n" : ""}`), button = make("button", "", column.name);
    cell.scope = "col";
    button.type = "button";
    button.addEventListener("click", () => {
      shown.down = shown.sort === place ? !shown.down : Boolean(column.number);
      shown.sort = place;
      for (const other of line.cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", shown.down ? "descending" : "ascending");
      update();
    });
    cell.append(button);
    line.append(cell);
  });
}

function chips() {
  const counts = new Map();
  for (const row of rows) counts.set(row.status, (counts.get(row.status) ?? 0) + 1);
  if (counts.size < 2) return;
  for (const [status, count] of counts) {
    const chip = make("button", "chip", `${status.replace("_", " ")} ${number(count)}`);
    chip.type = "button";
    chip.setAttribute("aria-pressed", "false");
    chip.addEventListener("click", () => {
      wanted.status = wanted.status === status ? null : status;
      for (const other of byId("statuses").children) other.setAttribute("aria-pressed", String(other === chip && wanted.status !== null));
      update();
    });
    byId("statuses").append(chip);
  }
}

function select(name, values, choose) {
  const element = make("select");
  element.setAttribute("aria-label", name);
  element.append(new Option(`${name}: any`, ""));
  values.forEach((value, place) => element.append(new Option(`${name}: ${value}`, String(place))));
  element.addEventListener("change", () => { choose(element.value === "" ? null : values[Number(element.value)]); update(); });
  byId("selects").append(element);
}

function selects() {
  held.scores.forEach((name, place) => {
    const values = [...new Set(rows.map((row) => String(score(row, place))))].sort();
    if (values.length < 2 || values.length > 4) return;
    select(name, values, (value) => value === null ? wanted.scores.delete(place) : wanted.scores.set(place, value));
  });
  for (const { column, values } of held.groups) {
    select(held.columns[column], values, (value) => value === null ? wanted.groups.delete(column) : wanted.groups.set(column, value));
  }
}

// ---------------------------------------------------------------- one row

function block(title, text, kind, left) {
  const element = make("div", "block"), inside = make("div", `text ${kind ?? ""}`, text);
  inside.dir = "auto";
  element.append(make("h3", "", title), inside);
  if (left) element.append(make("p", "left-out", `${number(left)} more characters are in the run folder.`));
  return element;
}

function pairs(entries) {
  const element = make("dl");
  for (const [name, value, why] of entries) {
    if (value === null || value === undefined || value === "–" || value === "") continue;
    const term = make("dt", "", name), told = make("dd", "", value);
    term.dir = told.dir = "auto";
    element.append(term, told);
    if (why) element.append(make("dd", "why", why));
  }
  return element;
}

function shownToken(text) { return text.replaceAll("\n", "↵\n"); }

function named(text) { return text === "" ? "(empty)" : text.replaceAll("\n", "↵"); }

function alternatives(place, tokens) {
  const [text, logprob] = tokens.list[place], element = document.createDocumentFragment();
  element.append(make("code", "", named(text)), " ", make("b", "", logprob === null ? "no probability" : `${percent(logprob)} · ${logprob}`));
  const tops = tokens.tops[place] ?? [];
  if (tops.length) element.append(make("br"), "likeliest: ");
  tops.forEach(([top, value], number) => {
    if (number) element.append(", ");
    element.append(make("code", "", named(top)), ` ${value === null ? "–" : percent(value)}`);
  });
  return element;
}

function tokenView(tokens) {
  const element = make("div"), text = make("div", "text"), below = make("div", "alternatives", "Point at a token, or tap it, for what else was likely.");
  text.dir = "auto";
  tokens.list.forEach(([token, logprob], place) => {
    const share = logprob === null ? 1 : Math.exp(logprob);
    const level = share < 0.1 ? "t0" : share < 0.3 ? "t1" : share < 0.6 ? "t2" : share < 0.9 ? "t3" : "t4";
    const one = make("span", `token ${level}`, shownToken(token));
    one.tabIndex = -1;
    one.dataset.token = place;
    text.append(one);
  });
  const tell = (event) => {
    const place = event.target.dataset?.token;
    if (place !== undefined) below.replaceChildren(alternatives(Number(place), tokens));
  };
  for (const kind of ["mouseover", "focusin", "click"]) text.addEventListener(kind, tell);
  const legend = make("div", "legend");
  for (const [level, words] of [["t0", "below 10 %"], ["t1", "10 to 30 %"], ["t2", "30 to 60 %"], ["t3", "60 to 90 %"], ["t4", "90 % and more"]]) {
    const entry = make("span");
    entry.append(make("span", level), words);
    legend.append(entry);
  }
  element.append(text, legend, below);
  if (tokens.left_out) element.append(make("p", "left-out", `${number(tokens.left_out)} more tokens are in the run folder.`));
  return element;
}

function answerBlock(row, text, title) {
  const element = block(title, text, "answer", row.cut[title === "continuation" ? "continuation" : "answer"]);
  if (!row.tokens) {
    if (row.tokens_left_out) element.append(make("p", "left-out", "Its log probabilities are in the run folder."));
    return element;
  }
  const plain = element.querySelector(".text"), tokens = tokenView(row.tokens), toggle = make("button", "", "as text");
  toggle.type = "button";
  plain.hidden = true;
  plain.after(tokens);
  toggle.addEventListener("click", () => {
    plain.hidden = !plain.hidden;
    tokens.hidden = !tokens.hidden;
    toggle.textContent = plain.hidden ? "as text" : "by probability";
  });
  element.firstChild.append(toggle);
  return element;
}

function main(row) {
  const element = make("div");
  row.prompt.forEach(([role, text], place) => element.append(block(role, text, "", place === row.prompt.length - 1 ? row.cut.prompt : 0)));
  if (row.reasoning !== undefined) element.append(block("reasoning", row.reasoning, "", row.cut.reasoning));
  if (row.continuation !== undefined) element.append(answerBlock(row, row.continuation, "continuation"));
  if (row.answer !== undefined) element.append(answerBlock(row, row.answer, "answer"));
  if (row.refusal !== undefined) element.append(block("refusal", row.refusal, "bad", row.cut.refusal));
  if (row.calls !== undefined) element.append(block("tool calls", row.calls, "mono", row.cut.calls));
  if (row.audio !== undefined) element.append(block("audio transcript", row.audio, "", row.cut.audio));
  if (row.message !== undefined) element.append(block(row.error ?? "error", row.message, "bad", row.cut.message));
  if (row.target !== undefined) element.append(block("target", row.target, "", row.cut.target));
  if (row.note !== undefined) element.append(block("note", row.note, "", row.cut.note));
  for (const [rank, id, value, text] of row.retrieved) {
    element.append(block(`retrieved ${number(rank)} · ${id} · ${number(value)}`, text));
  }
  if (row.found > row.retrieved.length) element.append(make("p", "left-out", `${number(row.found - row.retrieved.length)} more documents are in the run folder.`));
  return element;
}

function side(row) {
  const element = make("div", "side");
  if (row.scores && held.scores.length) {
    element.append(make("h3", "", "Scores"), pairs(held.scores.map((name, place) => [name, row.scores[place][0] === null ? "none" : number(row.scores[place][0]), row.scores[place][1]])));
  }
  element.append(make("h3", "", "Answer"), pairs([
    ["finish reason", row.finish], ["HTTP status", row.http === null ? null : String(row.http)], ["log-likelihood", number(row.likelihood)],
    ["greedy", row.greedy === null ? null : row.greedy ? "yes" : "no"],
    ["prompt tokens", number(row.usage[0])], ["answer tokens", number(row.usage[1])], ["reasoning tokens", number(row.usage[2])],
    ["cost", row.cost === null ? null : `$${number(row.cost)}`],
  ]));
  element.append(make("h3", "", "Time"), pairs([["sent (UTC)", row.at], ["latency", seconds(row.s[0])], ["first token", seconds(row.s[1])], ["queued", seconds(row.s[2])]]));
  if (held.columns.length) element.append(make("h3", "", "Dataset"), pairs(held.columns.map((name, place) => [name, row.inputs[place]])));
  if (row.attempts && (row.attempts.length > 1 || row.attempts[0][5])) {
    const attempts = make("ol");
    for (const [session, , at, took, status, kind, wait] of row.attempts) {
      attempts.append(make("li", "", [at, `session ${session}`, seconds(took), status === null ? "no answer" : String(status), kind, wait ? `asked to wait ${seconds(wait)}` : null].filter(Boolean).join(" · ")));
    }
    element.append(make("h3", "", "Attempts"), attempts);
  }
  return element;
}

function open(place) {
  const row = shown.rows[place];
  if (row === undefined) return;
  shown.open = place;
  byId("row-id").textContent = label(row);
  byId("row-status").replaceChildren(badge(row.status));
  byId("row-before").disabled = place === 0;
  byId("row-next").disabled = place === shown.rows.length - 1;
  byId("row-body").replaceChildren(main(row), side(row));
  byId("row-body").scrollTop = 0;
  if (!byId("row").open) byId("row").showModal();
}

// ---------------------------------------------------------------- begin

function chooseTheme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = root.dataset.theme ?? (dark ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
}

byId("theme").addEventListener("click", chooseTheme);
if (rows.length) {
  head();
  chips();
  selects();
  byId("filters").hidden = byId("table").hidden = false;
  byId("search").addEventListener("input", (event) => { wanted.text = event.target.value.toLowerCase().trim(); update(); });
  const body = byId("table").tBodies[0];
  body.addEventListener("click", (event) => open(Number(event.target.closest("tr").dataset.place)));
  body.addEventListener("keydown", (event) => { if (event.key === "Enter") open(Number(event.target.closest("tr").dataset.place)); });
  byId("row-before").addEventListener("click", () => open(shown.open - 1));
  byId("row-next").addEventListener("click", () => open(shown.open + 1));
  byId("row").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") open(shown.open - 1);
    if (event.key === "ArrowRight") open(shown.open + 1);
  });
  byId("row").addEventListener("click", (event) => { if (event.target === byId("row")) byId("row").close(); });
  new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting) && shown.listed < shown.rows.length) list(); }, { rootMargin: "800px" }).observe(byId("more"));
  update();
}
document.documentElement.dataset.ready = "yes";
