// Signs with ali-oss, a line of JSON in, a URL out: node sign_many.js BUCKET AKID SECRET
// {"key", "headers", "additional", "token", "expires", "now"}; `now` in seconds stands in for the SDK's clock.

const OSS = require('ali-oss');
const readline = require('readline');

const [bucket, accessKeyId, accessKeySecret] = process.argv.slice(2);
console.warn = () => {}; // advice on every client that has a token
let now = 0;
const RealDate = Date;
global.Date = class extends RealDate {
  constructor(...parts) {
    super(...(parts.length ? parts : [now * 1000]));
  }

  static now() {
    return now * 1000;
  }
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { key, headers, additional, token, expires, now: second } = JSON.parse(line);
    now = second;
    const client = new OSS({
      bucket,
      accessKeyId,
      accessKeySecret,
      stsToken: token || undefined,
      region: 'oss-cn-hangzhou',
      authorizationV4: true,
      secure: true,
    });
    process.stdout.write(`${await client.signatureUrlV4('PUT', expires, { headers }, key, additional)}\n`);
  }
}

main();
