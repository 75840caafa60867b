// What a program does with ali-oss: node ali_oss.js ENDPOINT BUCKET AKID SECRET TOKEN
// Prints one JSON object: what came back from the SDK's own operations, and a URL that it presigned.

const OSS = require('ali-oss');

async function main([endpoint, bucket, accessKeyId, accessKeySecret, stsToken]) {
  const options = {
    endpoint,
    bucket,
    accessKeyId,
    accessKeySecret,
    stsToken: stsToken || undefined,
    region: 'oss-cn-hangzhou',
    authorizationV4: true,
  };
  // For an endpoint that is an address the SDK names the bucket in the Host header, which a URL cannot do:
  // its URLs need path style.
  const client = new OSS(options);
  const signer = new OSS({ ...options, sldEnable: true });
  const key = 'ali-oss/照片 (1)+%.txt';
  const put = await client.put(key, Buffer.from('hello'), { mime: 'text/plain', headers: { 'x-oss-meta-a': '1' } });
  const head = await client.head(key);
  const got = await client.get(key);
  const removed = await client.delete(key);
  let missing;
  try {
    await client.head(key);
  } catch (error) {
    missing = { status: error.status, code: error.code };
  }
  const headers = { 'Content-Type': 'image/png', 'Content-Length': 5, 'x-oss-forbid-overwrite': 'true' };
  const url = await signer.signatureUrlV4('PUT', 60, { headers }, 'ali-oss/presigned 照片.png', ['content-length']);
  return {
    put: put.res.status,
    head: [head.status, head.meta],
    got: got.content.toString(),
    removed: removed.res.status,
    missing,
    url,
  };
}

main(process.argv.slice(2)).then(
  (result) => console.log(JSON.stringify(result)),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  }
);
