// Alibaba's SDK for Node.js: signatureUrlV4 in a handler.
import OSS from "ali-oss";

export async function handler(event, context) {
  const asked = JSON.parse(JSON.parse(event).body);
  const held = context.credentials;
  const headers = { "Content-Type": asked.contentType, "x-oss-meta-owner": asked.metadata.owner };
  const url = await prepare(held)(asked.key, headers);
  return {
    statusCode: 200,
    headers: { "Content-Type": "application/json" },
    isBase64Encoded: false,
    body: JSON.stringify({ method: "PUT", url, headers }),
  };
}

export function prepare(held) {
  const client = new OSS({
    region: `oss-${process.env.OSS_REGION}`,
    bucket: process.env.OSS_BUCKET,
    accessKeyId: held.accessKeyId,
    accessKeySecret: held.accessKeySecret,
    stsToken: held.securityToken,
    refreshSTSToken: async () => held, // not called within minutes; without it the SDK warns each time
    authorizationV4: true,
    secure: true,
  });
  return (key, headers) => client.signatureUrlV4("PUT", 600, { headers }, key);
}
