import { Hono, type Context } from 'hono'
import { asLakeError, LakeError, type LakeErrorCode } from '../error.ts'
import { encodeMetadata, openTable, uriOf, type LakeTable } from '../lake/table.ts'
import type { Version } from '../version.ts'
import { requireTable, type Access, type Caller } from './access.ts'
import type { ServerDoor } from './door.ts'
import { refusalHeaders } from './problem.ts'
import { isKnown, notModified } from './tables.ts'

// The read-only half of the Iceberg REST catalog (iceberg: open-api/rest-catalog-open-api.yaml). A pipeline is a
// namespace of one level, and each answer is given from its newest version at that moment. Errors have Iceberg's form.

/** What is offered, in the specification's own words: clients do not ask for anything else. */
const ENDPOINTS = [
  'GET /v1/{prefix}/namespaces',
  'GET /v1/{prefix}/namespaces/{namespace}',
  'HEAD /v1/{prefix}/namespaces/{namespace}',
  'GET /v1/{prefix}/namespaces/{namespace}/tables',
  'GET /v1/{prefix}/namespaces/{namespace}/tables/{table}',
  'HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}',
  'GET /v1/{prefix}/namespaces/{namespace}/views',
  'POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics',
]

interface Known {
  Variables: { caller: Caller }
}

/** Mounted below `/iceberg`. The caller sees the tables that it may read. */
export function restCatalog(door: ServerDoor, access: Access): Hono {
  const app = new Hono<Known>()
  // Errors, those about keys included, have Iceberg's form.
  app.use(async (context, next) => {
    context.set('caller', access.admit(context, ['query']))
    await next()
  })
  app.get('/v1/config', (context) => context.json({ defaults: {}, overrides: {}, endpoints: ENDPOINTS }))
  app.get('/v1/namespaces', (context) => {
    const parent = context.req.query('parent')
    // Namespaces have one level.
    if (parent !== undefined && parent !== '') {
      if (!door.chains.has(parent)) return noNamespace(context, parent)
      return context.json({ namespaces: [] })
    }
    return context.json({ namespaces: [...door.chains.keys()].map((pipeline) => [pipeline]) })
  })
  app.get('/v1/namespaces/:namespace', (context) => {
    const pipeline = context.req.param('namespace')
    if (!door.chains.has(pipeline)) return noNamespace(context, pipeline)
    return isHead(context) ? context.body(null, 204) : context.json({ namespace: [pipeline], properties: {} })
  })
  app.get('/v1/namespaces/:namespace/tables', async (context) => {
    const pipeline = context.req.param('namespace')
    if (!door.chains.has(pipeline)) return noNamespace(context, pipeline)
    const { caller } = context.var
    const all = Object.keys((await headOf(door, pipeline))?.tables ?? {}).toSorted()
    const names = all.filter((name) => caller.may(`query:${name}`))
    return context.json({ identifiers: names.map((name) => ({ namespace: [pipeline], name })) })
  })
  app.get('/v1/namespaces/:namespace/tables/:table', (context) => load(door, context))
  // Reports of what a client read, which is of no use here.
  app.post('/v1/namespaces/:namespace/tables/:table/metrics', (context) => {
    requireTable(context.var.caller, context.req.param('table'))
    return context.body(null, 204)
  })
  app.get('/v1/namespaces/:namespace/views', (context) => {
    const pipeline = context.req.param('namespace')
    if (!door.chains.has(pipeline)) return noNamespace(context, pipeline)
    return context.json({ identifiers: [] })
  })
  app.get('/v1/namespaces/:namespace/views/:view', (context) =>
    failure(context, 404, 'NoSuchViewException', `there is no view ${context.req.param('view')}`),
  )
  app.all('*', (context) => notOffered(context, context.req.method, context.req.path))
  app.onError((error, context) => {
    const { code, message } = asLakeError(error)
    for (const [name, value] of Object.entries(refusalHeaders(code))) context.header(name, value)
    const refused = REFUSALS[code]
    if (refused !== undefined) return failure(context, refused.status, refused.type, message)
    const isAway = code === 'store.unavailable' || code === 'not_ready'
    return isAway
      ? failure(context, 503, 'ServiceUnavailableException', message)
      : failure(context, 500, 'InternalServerError', `${code}: the table could not be read`)
  })
  return app as unknown as Hono
}

/** What is wrong with the caller, in Iceberg's words. */
const REFUSALS: Partial<Record<LakeErrorCode, { readonly status: 401 | 403; readonly type: string }>> = {
  'auth.missing': { status: 401, type: 'NotAuthorizedException' },
  'auth.invalid': { status: 401, type: 'NotAuthorizedException' },
  'auth.forbidden': { status: 403, type: 'ForbiddenException' },
}

async function load(door: ServerDoor, context: Context<Known>): Promise<Response> {
  const { namespace, table: name } = context.req.param() as { namespace: string; table: string }
  requireTable(context.var.caller, name)
  if (!door.chains.has(namespace)) return noNamespace(context, namespace)
  const version = await headOf(door, namespace)
  const metadata =
    version !== undefined && Object.hasOwn(version.tables, name) ? version.tables[name]!.metadata : undefined
  if (metadata === undefined)
    return failure(context, 404, 'NoSuchTableException', `there is no table ${namespace}.${name}`)
  if (isHead(context)) return context.body(null, 204)
  const which = context.req.query('snapshots') ?? 'all'
  if (which !== 'all' && which !== 'refs')
    return failure(context, 400, 'BadRequestException', `snapshots is all or refs, not ${JSON.stringify(which)}`)
  const etag = `"${metadata.slice(metadata.lastIndexOf('/') + 1)}-${which}"`
  if (isKnown(context.req.header('if-none-match'), etag)) return notModified(etag)
  const text = which === 'all' ? await textOf(door, metadata) : referenced(await openTable(door.storage, metadata))
  const head = `{"metadata-location":${JSON.stringify(uriOf(door.storage, metadata))},"metadata":`
  // Ids have 64 bits: the text goes out as it stands in the store.
  return context.body(`${head}${text},"config":${JSON.stringify(storeConfig(door))}}`, 200, {
    'content-type': 'application/json',
    etag,
  })
}

async function textOf({ storage }: ServerDoor, key: string): Promise<string> {
  const bytes = await storage.get(key)
  if (bytes === undefined) throw new LakeError('store.corrupt', `${key} is missing`, { context: { key } })
  return Buffer.from(bytes).toString('utf8')
}

/** The metadata with those snapshots alone that a branch or tag names. */
function referenced({ raw }: LakeTable): string {
  const named = new Set(Object.values(raw.refs).map((ref) => ref['snapshot-id']))
  const snapshots = raw.snapshots.filter((snapshot) => named.has(snapshot['snapshot-id']))
  return Buffer.from(encodeMetadata({ ...raw, snapshots })).toString('utf8')
}

/** Where the files are. Keys are the reader's own: ours may write. */
function storeConfig({ settings: { store } }: ServerDoor): Record<string, string> {
  if (!store.url.startsWith('s3:')) return {}
  const region = store.region ?? 'us-east-1'
  return {
    's3.region': region,
    'client.region': region,
    ...(store.endpoint === undefined
      ? {}
      : { 's3.endpoint': withoutUser(store.endpoint), 's3.path-style-access': 'true' }),
  }
}

function withoutUser(address: string): string {
  return address.replace(/(\/\/)[^/@\s]+@/, '$1')
}

function headOf({ chains }: ServerDoor, pipeline: string): Promise<Version | undefined> {
  return chains.get(pipeline)!.head()
}

/** Hono answers HEAD with the routes of GET. */
function isHead({ req }: Pick<Context, 'req'>): boolean {
  return req.method === 'HEAD'
}

function noNamespace(context: Context, name: string): Response {
  return failure(context, 404, 'NoSuchNamespaceException', `there is no namespace ${name.replaceAll('\u001f', '.')}`)
}

function notOffered(context: Context, method: string, path: string): Response {
  const isRead = method === 'GET' || method === 'HEAD'
  const message = isRead
    ? `nothing is served at ${path}`
    : `this catalog is read-only: ${method} ${path} is not offered`
  return failure(
    context,
    isRead ? 404 : 405,
    isRead ? 'NoSuchEndpointException' : 'UnsupportedOperationException',
    message,
  )
}

function failure(
  context: Context,
  code: 400 | 401 | 403 | 404 | 405 | 500 | 503,
  type: string,
  message: string,
): Response {
  return context.json({ error: { message, type, code } }, code)
}
