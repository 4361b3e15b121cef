// The pipelines of the run, as files that people would write: once in YAML, once in TypeScript, of one code hash. Events
// are cleaned of bots and get a country by their address; accounts lose what is sensitive; a function takes hosts out of
// addresses.

export const TOPICS = {
  events: 'raw-events',
  accounts: 'accounts',
  ranges: 'ip-ranges',
  processed: 'processed-events',
  active: 'active-accounts',
}
export const SALT = 'the salt of this run, and of no other'
/** In every text that must not be stored. */
export const SECRET = 'SECRET'
export const PIPELINES = ['clean', 'reference']

const IP_NUMBER = `list_reduce(list_transform(string_split(ip, '.'), lambda x: CAST(x AS BIGINT)), lambda a, b: a * 256 + b)`
const NO_BOTS = `NOT regexp_matches(lower(coalesce(user_agent, '')), 'bot|crawler|spider')`

/** Of what P7 publishes: not every row, and of a row not all; where it came from as a text. */
const ACTIVE_WHERE = 'n % 10 <> 0'
const ACTIVE_SELECT = {
  id: 'id',
  n: 'n',
  email: 'email',
  processed_at: 'processed_at',
  place: "string = _kafka_partition || '/' || _offset",
}

const reference = {
  tables: {
    ip_ranges: {
      from: { topic: TOPICS.ranges },
      key: ['first_ip'],
      columns: { first_ip: 'long', last_ip: 'long', country: 'string' },
    },
  },
}

/** `pipelines` of a YAML file; `at`: the version of the ranges; without it the ranges alone. */
export function pipelines(at) {
  if (at === undefined) return { reference }
  return {
    reference,
    clean: {
      tables: {
        processed_events: {
          from: { topic: TOPICS.events },
          columns: {
            user_id: 'string',
            event_type: 'string',
            timestamp: 'timestamptz(ms)',
            user_agent: 'string',
            ip: 'string',
            service_name: 'string',
            payload: 'struct<url:string,duration_ms:long>',
            country: 'string = geo.country',
            processed_at: 'timestamptz = _timestamp',
          },
          eventTime: { column: 'timestamp' },
          lookup: {
            geo: {
              table: 'ip_ranges',
              at,
              between: { value: IP_NUMBER, from: 'first_ip', to: 'last_ip' },
              select: ['country'],
            },
          },
          where: NO_BOTS,
          to: { topic: TOPICS.processed, key: ['user_id'] },
        },
        active_accounts: {
          from: { topic: TOPICS.accounts },
          columns: {
            id: 'string',
            status: 'string',
            n: 'int',
            email: 'string',
            processed_at: 'timestamptz = _timestamp',
          },
          where: "status = 'active'",
          redact: { sensitive_data: 'drop', email: { hash: 'people' }, phone: 'mask' },
          to: { topic: TOPICS.active, where: ACTIVE_WHERE, select: ACTIVE_SELECT },
        },
        hosts: {
          from: { topic: TOPICS.events },
          columns: { user_id: 'string', host: 'string' },
          map: './clean.ts',
        },
      },
    },
  }
}

/** The same in TypeScript. */
export const lakeText = (at) => `import { defineLake, json, t, table } from 'kappalake'

const ranges = table('ip_ranges', {
  from: { topic: '${TOPICS.ranges}' },
  key: ['first_ip'],
  columns: { first_ip: t.long(), last_ip: t.long(), country: t.string() },
})
const events = table('processed_events', {
  from: { topic: '${TOPICS.events}', value: json() },
  columns: {
    user_id: t.string(),
    event_type: t.string(),
    timestamp: t.timestamptz('ms'),
    user_agent: t.string(),
    ip: t.string(),
    service_name: t.string(),
    payload: t.struct({ url: t.string(), duration_ms: t.long() }),
    country: t.string().as('geo.country'),
    processed_at: t.timestamptz().as('_timestamp'),
  },
  eventTime: { column: 'timestamp' },
  lookup: {
    geo: {
      table: ranges.name,
      at: ${at},
      between: { value: \`${IP_NUMBER}\`, from: 'first_ip', to: 'last_ip' },
      select: ['country'],
    },
  },
  where: \`${NO_BOTS}\`,
  to: { topic: '${TOPICS.processed}', key: ['user_id'] },
})
const accounts = table('active_accounts', {
  from: { topic: '${TOPICS.accounts}' },
  columns: { id: t.string(), status: t.string(), n: t.int(), email: t.string(), processed_at: t.timestamptz().as('_timestamp') },
  where: "status = 'active'",
  redact: { phone: 'mask', email: { hash: 'people' }, sensitive_data: 'drop' },
  to: {
    topic: '${TOPICS.active}',
    where: '${ACTIVE_WHERE}',
    select: {
      id: 'id',
      n: 'n',
      email: 'email',
      processed_at: 'processed_at',
      place: t.string().as("${ACTIVE_SELECT.place.slice('string = '.length)}"),
    },
  },
})
const hosts = table('hosts', {
  from: { topic: '${TOPICS.events}' },
  columns: { user_id: t.string(), host: t.string() },
  map: './clean.ts',
})
export default defineLake({ reference: [ranges], clean: [events, accounts, hosts] })
`

export const CLEAN = `import { hostOf } from './host.ts'

interface Event { user_id: string; event_type: string; payload?: { url?: string } }

export default (event: Event) => {
  if (event.event_type === 'broken') throw new Error('no event of ours')
  const url = event.payload?.url
  return url === undefined ? null : { user_id: event.user_id, host: hostOf(url) }
}
`
export const HOST = `export const hostOf = (url: string): string | null => /^https?:\\/\\/([^/:]+)/.exec(url)?.[1] ?? null
`
