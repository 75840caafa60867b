// cold.py's twin for Node.js. FC's Node.js bootstrap has imported http; the rest of it is Node's own.
import { readFileSync } from "node:fs";

const [code, eventFile, mode] = process.argv.slice(2);
const event = readFileSync(eventFile);
const context = {
  requestId: "1-67400000-00000000-000000000000",
  region: "cn-hangzhou",
  credentials: {
    accessKeyId: process.env.ALIBABA_CLOUD_ACCESS_KEY_ID,
    accessKeySecret: process.env.ALIBABA_CLOUD_ACCESS_KEY_SECRET,
    securityToken: process.env.ALIBABA_CLOUD_SECURITY_TOKEN,
  },
};

if (mode === "fc") await import("node:http");
const startCpu = process.cpuUsage();
const startWall = performance.now();

const { handler } = await import(`${code}/index.mjs`);
const answer = await handler(event, context);

if (mode) {
  const { user, system } = process.cpuUsage(startCpu);
  const wall = performance.now() - startWall;
  const peak = /VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1];
  process.stderr.write(`${(user + system) / 1e6} ${wall / 1e3} ${peak}\n`);
}
process.stdout.write(answer.body);
