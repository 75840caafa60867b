// aws4fetch, the smallest S3 signer around, for the S3 face that OSS shows under s3.oss-<region>.
import { AwsClient } from "aws4fetch";

export async function handler(event, context) {
  const asked = JSON.parse(JSON.parse(event).body);
  const headers = { "Content-Type": asked.contentType, "x-amz-meta-owner": asked.metadata.owner };
  const url = await prepare(context.credentials)(asked.key, headers);
  return {
    statusCode: 200,
    headers: { "Content-Type": "application/json" },
    isBase64Encoded: false,
    body: JSON.stringify({ method: "PUT", url, headers }),
  };
}

export function prepare(held) {
  const client = new AwsClient({
    accessKeyId: held.accessKeyId,
    secretAccessKey: held.accessKeySecret,
    sessionToken: held.securityToken,
    region: process.env.OSS_REGION,
    service: "s3",
  });
  const host = `https://${process.env.OSS_BUCKET}.s3.oss-${process.env.OSS_REGION}.aliyuncs.com`;
  return async (key, headers) => {
    const url = new URL(`${host}/${key.split("/").map(encodeURIComponent).join("/")}`);
    url.searchParams.set("X-Amz-Expires", "600");
    const signed = await client.sign(url, {
      method: "PUT",
      headers,
      aws: { signQuery: true, allHeaders: true },
    });
    return signed.url;
  };
}
