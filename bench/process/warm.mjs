// warm.py's twin for Node.js.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [code, eventFile, mode] = process.argv.slice(2);
const text = readFileSync(eventFile, "utf8");
const event = JSON.parse(text);
const asked = JSON.parse(event.body);
const context = {
  requestId: "1-67400000-00000000-000000000000",
  region: "cn-hangzhou",
  credentials: {
    accessKeyId: process.env.ALIBABA_CLOUD_ACCESS_KEY_ID,
    accessKeySecret: process.env.ALIBABA_CLOUD_ACCESS_KEY_SECRET,
    securityToken: process.env.ALIBABA_CLOUD_SECURITY_TOKEN,
  },
};
const numbered = (i) => String(i).padStart(8, "0");
const { handler, prepare } = await import(`${code}/index.mjs`);

let call;
if (mode === "handler") {
  const events = Array.from({ length: 1000 }, (_, i) => Buffer.from(text.replace("00000000", numbered(i))));
  call = (i) => handler(events[i % 1000], context);
} else {
  const sign = prepare(context.credentials);
  const keys = Array.from({ length: 1000 }, (_, i) => asked.key.replace("00000000", numbered(i)));
  const headers = { "Content-Type": asked.contentType, "x-oss-meta-owner": asked.metadata.owner };
  call = (i) => sign(keys[i % 1000], headers);
}

for await (const line of createInterface({ input: process.stdin })) {
  const start = process.cpuUsage();
  for (let i = 0; i < Number(line); i++) await call(i);
  const { user, system } = process.cpuUsage(start);
  console.log((user + system) * 1000);
}
