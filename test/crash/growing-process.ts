import { avro, defineLake, open, table, type Settings } from '../../src/index.ts'

// A whole lake over a topic whose schemas a registry has, from settings in its environment: ends by itself when it stands
// where it is told to.

const { settings, ends } = JSON.parse(process.env['LAKE']!) as {
  settings: Settings
  ends: Readonly<Record<string, number>>
}
const orders = table('orders', { from: { topic: 'orders', value: avro() } })
const lake = await open(defineLake({ shop: [orders] }), settings, { onOutput: (text) => process.stderr.write(text) })
const isThere = (): boolean => {
  const { head, reason } = lake.pipelines[0]!.status()
  if (reason !== undefined) process.stderr.write(`${reason.code}: ${reason.message}\n`)
  return (
    head !== undefined && Object.entries(ends).every(([id, end]) => head.positions.get(id as never) === BigInt(end))
  )
}
while (!isThere()) await new Promise((done) => setTimeout(done, 10))
await lake.close()
