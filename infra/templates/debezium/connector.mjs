// Tells Kafka Connect of compose.yaml to follow the database: `npm run connect`. Sending it again changes nothing.
const url = process.env.CONNECT_URL ?? 'http://localhost:8083'
const config = {
  'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
  'plugin.name': 'pgoutput',
  'database.hostname': 'postgres',
  'database.port': '5432',
  'database.user': 'postgres',
  'database.password': 'postgres',
  'database.dbname': 'shop',
  'topic.prefix': 'shop',
  'table.include.list': 'public.customers',
  'key.converter': 'org.apache.kafka.connect.json.JsonConverter',
  'key.converter.schemas.enable': 'false',
  'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
  'value.converter.schemas.enable': 'false',
  // Text says the same in every language; the default is base64.
  'decimal.handling.mode': 'string',
  'topic.creation.default.partitions': '3',
  'topic.creation.default.replication.factor': '1',
}
const response = await fetch(`${url}/connectors/customers/config`, {
  method: 'PUT',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(config),
})
if (!response.ok) throw new Error(`Kafka Connect answers ${response.status}: ${await response.text()}`)
console.log(`connector customers: ${response.status === 201 ? 'created' : 'as it was'}`)
