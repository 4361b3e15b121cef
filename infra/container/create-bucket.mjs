// Creates the bucket of an S3 store when it is not there: `node create-bucket.mjs s3://bucket/prefix`. Endpoint, region
// and keys come from the variables that kappalake itself reads. For stores that a compose file starts.
import { CreateBucketCommand, HeadBucketCommand, S3Client } from '@aws-sdk/client-s3'

const bucket = /^s3:\/\/([^/]+)/.exec(process.argv[2] ?? process.env.KAPPALAKE__STORE__URL ?? '')?.[1]
if (bucket === undefined) {
  console.error('usage: node create-bucket.mjs s3://bucket')
  process.exit(2)
}
const {
  KAPPALAKE__STORE__ENDPOINT: endpoint,
  KAPPALAKE__STORE__REGION: region = 'us-east-1',
  KAPPALAKE__STORE__ACCESS_KEY_ID: accessKeyId,
  KAPPALAKE__STORE__SECRET_ACCESS_KEY: secretAccessKey,
} = process.env
const client = new S3Client({
  region,
  ...(endpoint ? { endpoint, forcePathStyle: true } : {}),
  ...(accessKeyId && secretAccessKey ? { credentials: { accessKeyId, secretAccessKey } } : {}),
})
try {
  await client.send(new HeadBucketCommand({ Bucket: bucket }))
  console.log(`bucket ${bucket} is there`)
} catch (error) {
  if (error.$metadata?.httpStatusCode !== 404) throw error
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  console.log(`bucket ${bucket} created`)
}
