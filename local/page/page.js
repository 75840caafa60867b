/** The upload page: files come in, a few are sent at a time, each has a row. How one is sent is in upload.js. */
import { upload } from "./upload.js";

const PARALLEL = 3; // more would only share the same line

const find = (selector) => document.querySelector(selector);
const endpoint = find("main").dataset.endpoint;
const waiting = [];
let running = 0;

/** Send what waits while there is room. A URL is asked for only now, so that none expires in the queue. */
function next() {
  while (running < PARALLEL && waiting.length > 0) {
    running += 1;
    waiting.shift()().finally(() => {
      running -= 1;
      next();
    });
  }
}

/** A file's row: waiting, sending, then stored, failed or cancelled; from the last two it can start again. */
function add(file) {
  const row = find("#row").content.firstElementChild.cloneNode(true);
  const parts = row.querySelectorAll("bdi, .size, button, progress, .status, .detail");
  const [name, size, button, bar, status, detail] = parts; // in the order of the page
  let controller, key;

  // A file's name is a stranger's text: set as text only, and in a <bdi> that keeps its directions to itself.
  name.textContent = file.name;
  size.textContent = bytes(file.size);
  bar.ariaLabel = `Progress of ${file.name}`;

  const show = (state, action, text, more = "") => {
    row.dataset.state = state;
    button.textContent = action;
    button.ariaLabel = `${action}: ${file.name}`;
    status.textContent = text;
    detail.textContent = more;
    summarise();
    if (state !== "waiting" && state !== "sending") tell(`${file.name}: ${text}`);
  };

  const start = () => {
    controller = new AbortController();
    bar.value = 0;
    show("waiting", "Cancel", "Waiting");
    waiting.push(send);
    next();
  };

  const send = async () => {
    show("sending", "Cancel", "Starting");
    const describe = meter(file.size);
    try {
      ({ key } = await upload(endpoint, file, {
        signal: controller.signal,
        onProgress: (sent) => {
          bar.value = sent / file.size;
          status.textContent = describe(sent);
        },
        onRetry: (error) => { status.textContent = `${error.message} Trying again.`; },
      }));
      bar.value = 1;
      show("stored", "Copy key", "Stored", key);
      button.hidden = !navigator.clipboard; // browsers give it to https and localhost only
    } catch (error) {
      if (controller.signal.aborted) return show("cancelled", "Retry", "Cancelled");
      const { message, status, code, requestId, problem } = error;
      const hint = problem?.allowed ? ` Allowed: ${problem.allowed.join(", ")}.` : "";
      show("failed", "Retry", message + hint, [status || "", code, requestId].filter(Boolean).join(" · "));
    }
  };

  const press = {
    waiting() {
      waiting.splice(waiting.indexOf(send), 1);
      show("cancelled", "Retry", "Cancelled");
    },
    sending: () => controller.abort(),
    failed: start,
    cancelled: start,
    async stored() {
      await navigator.clipboard.writeText(key);
      button.textContent = "Copied";
      tell("Copied");
    },
  };
  button.onclick = () => press[row.dataset.state]();

  find("#files").append(row);
  start();
}

/** What to say of an upload's progress: how much, how fast over the last seconds, how much longer. */
function meter(total) {
  let marks = [];
  let text = "";
  let saidAt = 0;
  return (sent) => {
    const now = performance.now();
    if (sent < marks.at(-1)?.sent) marks = []; // a new attempt
    marks = [...marks.filter((mark) => now - mark.at < 3000), { at: now, sent }];
    if (sent === total) return "Finishing";
    if (now - saidAt < 250) return text; // readable beats up to date
    saidAt = now;
    const speed = ((sent - marks[0].sent) / (now - marks[0].at)) * 1000;
    text = `${bytes(sent)} of ${bytes(total)}`;
    if (speed > 0) text += `, ${bytes(speed)}/s, ${duration((total - sent) / speed)} left`;
    return text;
  };
}

function bytes(count) {
  const power = Math.min(Math.floor(Math.log10(Math.max(count, 1)) / 3), 3);
  return (count / 1000 ** power).toLocaleString("en", {
    style: "unit",
    unit: ["byte", "kilobyte", "megabyte", "gigabyte"][power],
    unitDisplay: power === 0 ? "long" : "short",
    maximumFractionDigits: power > 1 ? 1 : 0,
  });
}

function duration(seconds) {
  const [count, unit] = seconds < 60 ? [seconds, "second"] : [seconds / 60, "minute"];
  return Math.ceil(count).toLocaleString("en", { style: "unit", unit });
}

function summarise() {
  const rows = [...find("#files").children];
  const count = (state) => rows.filter((row) => row.dataset.state === state).length;
  const failed = count("failed") ? `, ${count("failed")} failed` : "";
  find("#summary").textContent = `${count("stored")} of ${rows.length} stored${failed}`;
  find("section").hidden = rows.length === 0;
}

/** For screen readers, which do not see rows change. */
function tell(text) {
  find("#news").append(Object.assign(document.createElement("p"), { textContent: text }));
}

/** A dropped file, or every file in a dropped folder. */
async function enter(entry) {
  if (entry.isFile) return entry.file(add);
  const reader = entry.createReader();
  const read = () => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  for (let some = await read(); some.length > 0; some = await read()) some.forEach(enter); // a hundred at a time
}

find("#picker").addEventListener("change", ({ target }) => {
  [...target.files].forEach(add);
  target.value = ""; // the same file can be chosen again
});

// All of the page takes a drop: beside the zone the browser would open the file and leave the page.
for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
  addEventListener(type, (event) => {
    event.preventDefault();
    const over = type !== "drop" && !(type === "dragleave" && event.relatedTarget === null);
    document.body.classList.toggle("over", over);
  });
}
addEventListener("drop", ({ dataTransfer }) => {
  const entries = [...dataTransfer.items].map((item) => item.webkitGetAsEntry());
  entries.filter(Boolean).forEach(enter);
});
addEventListener("paste", ({ clipboardData }) => [...clipboardData.files].forEach(add));

addEventListener("beforeunload", (event) => {
  if (running + waiting.length > 0) event.preventDefault(); // the browser asks
});
